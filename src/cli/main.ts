#!/usr/bin/env node
/**
 * The command. Every sub-command has a file that declares its options and imports the work in its action, so that
 * `quench inspect` never loads a native library.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 130 on SIGINT, 143 on SIGTERM and SIGHUP. What went wrong is one line on
 * standard error, and with `--json` a document `{ error: { message, exitCode } }` on standard output. `QUENCH_DEBUG` adds the stack.
 */
import { CommanderError } from 'commander'
import { QuenchError } from '../errors.js'
import { removeTemporaryFiles, systemError } from '../files.js'
import { plural } from '../format.js'
import { warningType } from '../notices.js'
import { handleSignals, interruption } from './interrupt.js'
import { createProgram } from './program.js'
import { translated } from './spellings.js'
import { printError, printJson, printNote, printStack, printWarning } from './terminal/print.js'
import { clearProgress, endProgress, type ProgressMode, setProgress } from './terminal/progress.js'

const args = translated(process.argv.slice(2))
const program = createProgram()
program.hook('preAction', async (_, command) => {
  const { threads, gpuLayers, progress } = command.opts<{
    threads?: number
    gpuLayers?: number
    progress?: ProgressMode
  }>()
  if (progress === undefined) return // it computes nothing
  setProgress(progress)
  if (threads === undefined) await sayThreads()
  else (await import('../threads.js')).useThreads(threads)
  if (process.env.QUENCH_LLAMA_PACKAGE) await sayPackage()
  if (gpuLayers) await sayNoGpu()
})

for (const [stream, name] of [
  [process.stdout, 'standard output'],
  [process.stderr, 'standard error'],
] as const) {
  stream.once('error', (error) => unprinted(name, stream.isTTY, error))
  stream.on('error', () => {}) // every further line fails too
}
handleSignals((code) => {
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
  await program.parseAsync(args, { from: 'user' })
  endProgress()
} catch (error) {
  process.exitCode = fail(error)
}

/** A container's limit is not what a person reads off the machine. */
async function sayThreads(): Promise<void> {
  const { availableThreads } = await import('../threads.js')
  const { count, quota } = availableThreads()
  if (quota === undefined) return
  printNote(
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

/** Layers that were asked for stay on the processor where there is no other device. */
async function sayNoGpu(): Promise<void> {
  const { devices } = await import('../llama/index.js')
  if (devices().some(({ kind }) => kind.endsWith('gpu'))) return
  printWarning(
    'this build of llama.cpp finds no GPU, so all layers run on the cpu; QUENCH_LLAMA_PACKAGE chooses another build',
  )
}

/** Says what went wrong; returns the exit code. With `--json` standard output has it too, in the place of the result. */
function fail(error: unknown): number {
  clearProgress()
  if (error instanceof CommanderError && error.exitCode === 0) return 0 // --help, --version
  const { message, exitCode } = problemOf(error)
  const code = interruption() ?? exitCode
  if (message === undefined) return code
  printError(message, code)
  if (process.env.QUENCH_DEBUG && error instanceof Error) printStack(error.stack ?? '')
  if (args.includes('--json')) printJson({ error: { message, exitCode: code } })
  return code
}

/** Without a message help has been printed. */
function problemOf(error: unknown): { readonly message?: string; readonly exitCode: number } {
  if (error instanceof CommanderError) {
    if (error.code === 'commander.help') return { exitCode: 2 }
    const problem = error.message
      .replace(/^error: /, '')
      .replace(/\n(?=\(Did you mean)/, ' ')
      .replace(/\.$/, '')
    return { message: `${problem}; see \`${helpOf(args)}\``, exitCode: 2 }
  }
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof QuenchError) return { message, exitCode: error.exitCode }
  return { message: `this is a bug in quench: ${message}`, exitCode: 1 }
}

/** The help of the command that was typed, or else of the program. */
function helpOf([first]: readonly string[]): string {
  const found = program.commands.find((command) => command.name() === first)
  return found ? `quench ${found.name()} --help` : 'quench --help'
}

/**
 * What was to be printed cannot be: the reader of a pipe has seen enough, as `head` does, the terminal was closed, or the disk
 * is full. Files that the command makes are worth more than what it says, so it goes on; only the last is a failure.
 */
function unprinted(where: string, terminal: boolean, error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE' || terminal) return
  process.exitCode = fail(systemError(where, error))
}
