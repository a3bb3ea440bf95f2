/** Layout of the help: groups, wrapping at the terminal's width, llama.cpp's option names, examples and environment variables. */
import { createRequire } from 'node:module'
import { Command, type Help, type Option } from 'commander'
import { alsoCalled } from './spellings.js'
import { print } from './terminal/print.js'
import { bold, columnsOf, wrapped } from './terminal/style.js'

/** At less than this width a description goes on the line below its term. */
const leastDescription = 40
const helpWidth = (): number => columnsOf(process.stdout) ?? 100

/** `-ngl, --gpu-layers, --n-gpu-layers <n>` */
export function optionTerm({ flags, long }: Option): string {
  const names = alsoCalled(long ?? undefined)
  const before = names.filter((name) => !name.startsWith('--'))
  const after = names.filter((name) => name.startsWith('--'))
  return [...before, flags.replace(/(--[a-z-]+)/, [long, ...after].join(', '))].join(', ')
}

function formatItem(term: string, termWidth: number, description: string, helper: Help): string {
  const width = helper.helpWidth ?? 80
  const beside = width - termWidth - 4
  if (beside >= leastDescription) {
    const [first, ...rest] = wrapped(description, beside).map((line) => line.trim())
    return [
      `  ${term.padEnd(termWidth)}  ${first}`,
      ...rest.map((line) => `${' '.repeat(termWidth + 4)}${line}`),
    ].join('\n')
  }
  return [
    ...wrapped(`  ${term}`, width),
    ...wrapped(description, width - 6).map((line) => `      ${line.trim()}`),
  ].join('\n')
}

const boxWrap = (text: string, width: number): string =>
  text
    .split('\n')
    .flatMap((line) => wrapped(line, width).map((part) => part.trim()))
    .join('\n')

/** Configures the program; its commands inherit this. */
function configureHelp(program: Command): void {
  program
    .configureHelp({ optionTerm, formatItem, boxWrap })
    .configureOutput({ getOutHelpWidth: helpWidth, writeOut: printHelp, outputError: () => {} })
}

/** Prints the headings of groups in bold. */
function printHelp(help: string): void {
  const lines = help.trimEnd().split('\n')
  print(lines.map((line) => (/^[A-Z][^.]*:$/.test(line) ? bold(line) : line)))
}

/** The part after the options: paragraphs and examples. */
export function helpEnd(paragraphs: readonly string[], examples: readonly string[]): () => string {
  return () => {
    const width = helpWidth()
    const lines = paragraphs.flatMap((text) => ['', ...wrapped(text, width).map((line) => line.trim())])
    return [
      ...lines,
      '',
      examples.length === 1 ? 'Example:' : 'Examples:',
      ...examples.flatMap((example) => continued(example, width)),
    ].join('\n')
  }
}

/** A command, continued on the next line with a backslash if it is too long. */
function continued(command: string, width: number): string[] {
  const lines = wrapped(`  ${command}`, width - 2)
  return lines.map((line, i) => (i < lines.length - 1 ? `${line} \\` : line))
}

const environment: readonly (readonly [name: string, what: string])[] = [
  ['QUENCH_THREADS', 'number of threads; --threads overrides it'],
  ['QUENCH_CACHE', 'cache folder (default: quench in XDG_CACHE_HOME or ~/.cache)'],
  ['QUENCH_CACHE_LIMIT', 'GB that converted checkpoints may take in it (default: 100)'],
  ['QUENCH_LLAMA_PACKAGE', 'another installed build of llama.cpp, e.g. linux-x64-cuda'],
  ['QUENCH_DEBUG', 'if set, errors show a stack trace'],
  ['NO_COLOR', 'if set, no colour'],
  ['FORCE_COLOR', '1: colour even if the output is not a terminal; 0: none'],
  ['COLUMNS', 'width of help and tables if the output is not a terminal'],
]

/** The end of `quench --help`. */
function programHelp(): string {
  const longest = environment.reduce((most, [name]) => Math.max(most, name.length), 0)
  const helper = { helpWidth: helpWidth() } as Help
  const lines = environment.map(([name, what]) => formatItem(name, longest, what, helper))
  const note =
    'Exit codes: 0 success, 1 failure, 2 usage error, 130 and 143 interrupted. `quench COMMAND --help` has examples.'
  const examples = [
    'quench demo',
    'quench quantize model-f16.gguf Q4_K_M',
    'quench train model-f16.gguf --type Q4_0',
  ]
  return ['', 'Environment variables:', ...lines, helpEnd([note], examples)()].join('\n')
}

const { version, description } = createRequire(import.meta.url)('../../package.json') as {
  version: string
  description: string
}

/** The program without commands. */
export function emptyProgram(): Command {
  const program = new Command('quench').description(description).version(version).exitOverride()
  configureHelp(program)
  program.addHelpText('after', programHelp)
  return program
}
