/** Command lines that are parsed and not carried out. */
import type { Command } from 'commander'
import { createProgram } from '../../src/cli/program/program.js'
import { translated } from '../../src/cli/spellings.js'

const named = (command: Command, before: readonly string[] = []): string[][] =>
  command.commands.flatMap((each) => [[...before, each.name()], ...named(each, [...before, each.name()])])

/** The words of every command, such as `cache clear`. */
export const commands = named(createProgram())

/** The command of such words. */
export function commandOf(path: readonly string[]): Command {
  let command = createProgram()
  for (const name of path) {
    const found = command.commands.find((each) => each.name() === name)
    if (!found) throw new Error(`there is no command ${path.join(' ')}`)
    command = found
  }
  return command
}

/** What a command has to be given, so that it parses. */
export const requiredBy = (path: readonly string[]): string[] => {
  const { registeredArguments, options } = commandOf(path)
  return [
    ...registeredArguments.filter(({ required }) => required).map(({ argChoices }) => argChoices?.[0] ?? 'x'),
    ...options
      .filter(({ mandatory }) => mandatory)
      .map(({ long, flags }) => `${long}=${flags.endsWith('<org/name>') ? 'org/name' : 'x'}`),
  ]
}

/** A command line as a shell splits it, without where it sends its output. */
export const wordsOf = (line: string): string[] => line.replace(/ >.*$/, '').trim().split(/ +/)

/** Parses a command line without doing its work; what it does not know is an error. */
export async function parse(args: readonly string[]): Promise<{ name: string; options: object }> {
  const program = createProgram()
  let parsed: { name: string; options: object } | undefined
  const idle = (command: Command): void => {
    for (const each of command.commands) {
      each.action((...given: unknown[]) => {
        const own = given.at(-1) as Command
        parsed = { name: own.name(), options: own.optsWithGlobals() }
      })
      idle(each)
    }
  }
  idle(program)
  await program.parseAsync(translated(args), { from: 'user' })
  if (!parsed) throw new Error(`${args.join(' ')} does nothing`)
  return parsed
}
