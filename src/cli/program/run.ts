/**
 * Runs the command that was typed. Every sub-command has a file that declares its options and imports its implementation in the action, so
 * that `quench inspect` never loads a native library. Only the file of the command that was typed is loaded.
 *
 * Exit codes: 0 success, 1 failure, 2 usage error, 130 on SIGINT, 143 on SIGTERM and SIGHUP. An error is printed as one line on
 * standard error, and with `--json` also as a document `{ error: { message, exitCode } }` on standard output. `QUENCH_DEBUG` adds the
 * stack trace.
 */
import { CommanderError } from 'commander'
import { QuenchError } from '../../errors.js'
import { removeTemporaryFiles, systemError } from '../../files.js'
import { plural } from '../../format.js'
import { warningType } from '../../notices.js'
import { commandName } from '../command-name.js'
import { hintFor, translated } from '../spellings.js'
import { handleSignals, interruption } from '../terminal/interrupt.js'
import { printError, printJson, printNote, printStack, printWarning } from '../terminal/print.js'
import { clearProgress, endProgress, type ProgressMode, setProgress } from '../terminal/progress.js'
import { programFor } from './one-command.js'

const args = translated(process.argv.slice(2))
const program = await programFor(args[0])
program.hook('preAction', async (_, command) => {
  const { threads, gpuLayers, progress } = command.opts<{
    threads?: number
    gpuLayers?: number
    progress?: ProgressMode
  }>()
  if (progress === undefined) return // it computes nothing
  setProgress(progress)
  await sayThreads(threads)
  if (process.env.QUENCH_LLAMA_PACKAGE) await sayPackage()
  if (gpuLayers) await sayNoGpu()
})

for (const [stream, name] of [
  [process.stdout, 'standard output'],
  [process.stderr, 'standard error'],
] as const) {
  stream.once('error', (error) => unprinted(name, stream.isTTY, error))
  stream.on('error', () => {}) // later writes fail too
}
handleSignals((code) => {
  removeTemporaryFiles()
  process.exit(code)
})
process.removeAllListeners('warning') // Node prints them in its own format
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

/** Prints the number of threads if a container limits it, since it is then less than the machine's; warns of more than processors. */
async function sayThreads(wanted: number | undefined): Promise<void> {
  const { availableThreads, crowdedThreads, useThreads } = await import('../../threads.js')
  if (wanted !== undefined) useThreads(wanted)
  const { count, quota } = availableThreads()
  const crowded = crowdedThreads(count, wanted === undefined ? 'QUENCH_THREADS' : '--threads')
  if (crowded !== undefined) printWarning(crowded)
  if (quota === undefined) return
  printNote(
    `${plural(count, 'thread')}, since the container's CPU limit is ${quota}; QUENCH_THREADS sets another number`,
  )
}

/** Warns about libraries without known hashes. */
async function sayPackage(): Promise<void> {
  const { uncheckedPackage } = await import('../../llama/package.js')
  const name = uncheckedPackage()
  if (name !== undefined)
    printWarning(`the libraries of ${name} are loaded unchecked, as QUENCH_LLAMA_PACKAGE asks`)
}

/** Warns that the requested GPU layers run on the CPU if there is no GPU. */
async function sayNoGpu(): Promise<void> {
  const { hasGpu } = await import('../../llama/index.js')
  if (hasGpu()) return
  printWarning(
    'this build of llama.cpp finds no GPU, so all layers run on the cpu; QUENCH_LLAMA_PACKAGE chooses another build',
  )
}

/** Prints the error and returns the exit code. With `--json` it is also printed to standard output in place of the result. */
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

/** Without a message, help has been printed already. */
function problemOf(error: unknown): { readonly message?: string; readonly exitCode: number } {
  if (error instanceof CommanderError) {
    if (error.code === 'commander.help') return { exitCode: 2 }
    const problem = error.message
      .replace(/^error: /, '')
      .replace(/\n(?=\(Did you mean)/, ' ')
      .replace(/\.$/, '')
    const option = /^unknown option '([^']+)'/.exec(problem)?.[1]
    const hint = option === undefined ? undefined : hintFor(typedCommand(args) ?? '', option)
    if (hint !== undefined) return { message: `unknown option '${option}': ${hint}`, exitCode: 2 }
    return { message: `${problem}; see \`${helpOf(args)}\``, exitCode: 2 }
  }
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof QuenchError) return { message, exitCode: error.exitCode }
  return { message: `this is a bug in quench: ${message}`, exitCode: 1 }
}

/** The help command to suggest: of the sub-command that was typed, or of the program. */
function helpOf(typed: readonly string[]): string {
  const name = typedCommand(typed)
  return name === undefined ? `${commandName()} --help` : `${commandName()} ${name} --help`
}

function typedCommand([first]: readonly string[]): string | undefined {
  return program.commands.find((command) => command.name() === first)?.name()
}

/**
 * Handles a failed write to standard output or error: the reader of the pipe has exited, as `head` does, the terminal was closed, or
 * the disk is full. The command continues, since its files matter more than its messages; only a full disk is a failure.
 */
function unprinted(where: string, terminal: boolean, error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE' || terminal) return
  process.exitCode = fail(systemError(where, error))
}
