/**
 * Prints docs/options.md: every command with its declared arguments and options. A test compares the page with it.
 *
 *   npx tsx scripts/options-page.ts > docs/options.md
 */
import type { Command, Option } from 'commander'
import { optionTerm } from '../src/cli/help.js'
import { createProgram } from '../src/cli/program/program.js'

const escaped = (text: string): string => text.replace(/\|/g, '\\|')
const row = (term: string, text: string): string => `| ${escaped(`\`${term}\``)} | ${escaped(text)} |`

/** The help text of an option, with its choices and its default. */
function described(command: Command, option: Option): string {
  return command.createHelp().optionDescription(option)
}

function table(heading: string, rows: readonly string[]): string[] {
  return rows.length === 0 ? [] : ['', `| ${heading} | |`, '|---|---|', ...rows]
}

function section(command: Command, path: readonly string[]): string[] {
  const help = command.createHelp()
  const groups = new Map<string, Option[]>()
  for (const option of command.options) {
    const heading = (option.helpGroupHeading ?? 'Options:').replace(/:$/, '')
    groups.set(heading, [...(groups.get(heading) ?? []), option])
  }
  return [
    `## quench ${path.join(' ')}`,
    '',
    `\`${help.commandUsage(command)}\`: ${help.commandDescription(command)}.`,
    ...table(
      'Arguments',
      help
        .visibleArguments(command)
        .map((argument) => row(argument.name(), help.argumentDescription(argument))),
    ),
    ...[...groups].flatMap(([heading, options]) =>
      table(
        heading,
        options.map((option) => row(optionTerm(option), described(command, option))),
      ),
    ),
    '',
    ...command.commands
      .filter((each) => each.name() !== 'help')
      .flatMap((each) => section(each, [...path, each.name()])),
  ]
}

export function optionsPage(): string {
  const program = createProgram()
  return [
    '# Commands and options',
    '',
    'What `quench COMMAND --help` says, on one page. [The command line](command-line.md) explains values, outputs and exit codes.',
    '',
    ...program.commands.flatMap((command) => section(command, [command.name()])),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n')
}

if (process.argv[1] === import.meta.filename) process.stdout.write(optionsPage())
