#!/usr/bin/env node
/**
 * The command. Every sub-command has a file that declares its options and imports the work in its action, so that
 * `quench inspect` never loads a native library.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 130 on SIGINT, 143 on SIGTERM and SIGHUP. What went wrong is one line on
 * standard error. `QUENCH_DEBUG` adds the stack.
 */
import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { QuenchError } from '../errors.js'
import { removeTemporaryFiles, systemError } from '../files.js'
import { plural } from '../format.js'
import { warningType } from '../warnings.js'
import { addBench } from './bench.js'
import { addCache } from './cache.js'
import { addCompare } from './compare.js'
import { addDemo } from './demo.js'
import { addEval } from './eval/eval.js'
import { addInspect } from './inspect.js'
import { handleSignals, interruption } from './interrupt.js'
import { addQuantize } from './quantize.js'
import { print, printError, printStack, printWarning } from './terminal/print.js'
import { clearProgress } from './terminal/progress.js'
import { addTrain } from './train/train.js'

const { version, description } = createRequire(import.meta.url)('../../package.json') as {
  version: string
  description: string
}

const program = new Command('quench')
  .description(description)
  .version(version)
  .exitOverride()
  .configureOutput({
    writeOut: (help) => print(help.trimEnd().split('\n')),
    outputError: () => {}, // `fail` says it in one line
  })
addInspect(program)
addQuantize(program)
addTrain(program)
addEval(program)
addBench(program)
addCompare(program)
addDemo(program)
addCache(program)

program.hook('preAction', async (_, command) => {
  const computes = !['inspect', 'cache', 'clear'].includes(command.name())
  if (!computes) return
  if (command.opts().threads === undefined) await sayThreads()
  if (process.env.QUENCH_LLAMA_PACKAGE) await sayPackage()
})

for (const [stream, name] of [
  [process.stdout, 'standard output'],
  [process.stderr, 'standard error'],
] as const) {
  stream.once('error', (error) => unprinted(name, stream.isTTY, error))
  stream.on('error', () => {}) // every further line fails too
}
handleSignals((code) => {
  clearProgress()
  removeTemporaryFiles()
  process.exit(code)
})
process.removeAllListeners('warning') // Node would print them in lines of its own
process.on('warning', ({ name, message }) => {
  if (name !== warningType) return
  clearProgress()
  printWarning(message)
})

try {
  await program.parseAsync()
} catch (error) {
  const code = fail(error)
  process.exitCode = interruption() ?? code
}

/** A container's limit is not what a person reads off the machine. */
async function sayThreads(): Promise<void> {
  const { availableThreads } = await import('../threads.js')
  const { count, quota } = availableThreads()
  if (quota === undefined) return
  printError(
    `${plural(count, 'thread')}, since the container's CPU limit is ${quota}; QUENCH_THREADS sets another number`,
  )
}

/** Libraries whose hashes nobody knows. */
async function sayPackage(): Promise<void> {
  const { uncheckedPackage } = await import('../llama/package.js')
  const name = uncheckedPackage()
  if (name !== undefined)
    printWarning(`the libraries of ${name} are loaded unchecked, as QUENCH_LLAMA_PACKAGE asks`)
}

/** Says what went wrong; returns the exit code. */
function fail(error: unknown): number {
  clearProgress()
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0 // --help, --version
    if (error.code !== 'commander.help') {
      const problem = error.message
        .replace(/^error: /, '')
        .replace(/\n(?=\(Did you mean)/, ' ')
        .replace(/\.$/, '')
      printError(`${problem}; see \`quench --help\``)
    }
    return 2
  }
  const message = error instanceof Error ? error.message : String(error)
  const expected = error instanceof QuenchError
  printError(expected ? message : `this is a bug in quench: ${message}`)
  if (process.env.QUENCH_DEBUG && error instanceof Error) printStack(error.stack ?? '')
  return expected ? error.exitCode : 1
}

/**
 * What was to be printed cannot be: the reader of a pipe has seen enough, as `head` does, the terminal was closed, or the disk
 * is full. Files that the command makes are worth more than what it says, so it goes on; only the last is a failure.
 */
function unprinted(where: string, terminal: boolean, error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE' || terminal) return
  process.exitCode = fail(systemError(where, error))
}
