/**
 * Runs untrusted code (chat templates, JSON schemas) in a separate process. It may loop forever, and it may crash its process:
 * V8 aborts on arrays and heaps that are too large, which the limits of a worker thread do not catch. Requests are answered
 * one at a time, each within a time limit; a process that died is restarted for the next one.
 *
 * The process prints nothing, and it ends with its parent, since that closes the channel between them. The module of the
 * process calls `serve`.
 */
import { type ChildProcess, fork } from 'node:child_process'
import vm from 'node:vm'
import { FileError, QuenchError } from './errors.js'
import { processEntry } from './workers.js'

/** An answer, or a clause that gives the reason for none, e.g. "it takes more than 30 s". */
export type Outcome<T> = { readonly result: T } | { readonly problem: string }

type Reply =
  | Outcome<unknown>
  | { readonly fileError: { readonly path: string; readonly problem: string } }
  | { readonly bug: string }

interface Start {
  readonly input: unknown
  /** Milliseconds. */
  readonly timeout: number
}

const memoryMb = 1024
const startTimeout = 60_000
/** Additional time in which the process may report a timeout. */
const grace = 5_000
const mostReason = 200
const tooMuchMemory = 'it takes too much memory'

export class Sandbox<Request, Result> {
  private child: ChildProcess | undefined

  /**
   * @param name of the module, without extension, e.g. `./chat-worker`
   * @param from `import.meta.url` of the caller
   * @param input start argument of the module
   * @param timeout limit per request in milliseconds
   */
  constructor(
    private readonly name: string,
    private readonly from: string,
    private readonly input: unknown,
    private readonly timeout: number,
  ) {}

  /** Must not be called before the previous request is answered. @throws FileError of the module's start */
  async ask(request: Request): Promise<Outcome<Result>> {
    if (!this.child) {
      this.child = this.spawn()
      const started = await this.exchange(
        { input: this.input, timeout: this.timeout } satisfies Start,
        startTimeout,
      )
      if ('problem' in started) return started
    }
    return (await this.exchange(request, this.timeout + grace)) as Outcome<Result>
  }

  close(): void {
    this.child?.kill('SIGKILL')
    this.child = undefined
  }

  private spawn(): ChildProcess {
    const { module, execArgv } = processEntry(this.name, this.from)
    const child = fork(module, {
      execArgv: [`--max-old-space-size=${memoryMb}`, ...execArgv],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    child.on('error', () => {}) // for a message that can no longer be delivered
    // It may be busy and not notice that the channel is closed.
    const kill = (): boolean => child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    return child
  }

  private async exchange(message: unknown, timeout: number): Promise<Outcome<unknown>> {
    const child = this.child as ChildProcess
    const reply = await new Promise<Reply>((resolve) => {
      const done = (given: Reply): void => {
        clearTimeout(timer)
        child.off('message', answered).off('exit', ended).off('error', failed)
        resolve(given)
      }
      const lost = (problem: string): void => {
        this.close()
        done({ problem })
      }
      const answered = (given: unknown): void => done(given as Reply)
      const ended = (): void => lost(tooMuchMemory)
      const failed = (error: Error): void => lost(`no process can be started for it: ${error.message}`)
      const timer = setTimeout(() => lost(tooLong(this.timeout)), timeout)
      child.once('message', answered).once('exit', ended).once('error', failed)
      try {
        child.send(message as object, () => {}) // a failure also causes an 'exit'
      } catch (error) {
        lost(reasonOf(error)) // e.g. a message that is nested too deeply
      }
    })
    if ('fileError' in reply) throw new FileError(reply.fileError.path, reply.fileError.problem)
    if ('bug' in reply) throw new Error(reply.bug)
    return reply
  }
}

/**
 * In the process: answers requests. A `QuenchError` thrown by `handle` is the problem of the request.
 * @param start reads what all requests share, and returns the function that answers one
 */
export function serve<Input, Request>(start: (input: Input) => Promise<(request: Request) => unknown>): void {
  let handle: ((request: Request) => unknown) | undefined
  let timeout = 0
  const reply = async (message: unknown): Promise<Reply> => {
    if (handle) return { result: limited(handle, message as Request, timeout) }
    const { input, timeout: limit } = message as Start
    timeout = limit
    handle = await start(input as Input)
    return { result: undefined }
  }
  process.on('message', async (message) => {
    process.send?.(await reply(message).catch(replyTo))
  })
  process.on('disconnect', () => process.exit())
  // The parent handles signals from the terminal.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {})
}

/** Runs a function with a time limit in milliseconds. */
function limited<T>(handle: (request: T) => unknown, request: T, timeout: number): unknown {
  const context = globalThis as { quenchRequest?: () => unknown }
  context.quenchRequest = () => handle(request)
  try {
    return vm.runInThisContext('quenchRequest()', { timeout })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      throw new QuenchError(tooLong(timeout))
    throw error
  }
}

function replyTo(error: unknown): Reply {
  if (error instanceof FileError) {
    return { fileError: { path: error.path, problem: error.problem } }
  }
  return error instanceof QuenchError ? { problem: error.message } : { bug: reasonOf(error) }
}

const tooLong = (timeout: number): string => `it takes more than ${timeout / 1000} s`

/** The message of an error that untrusted code may word, truncated to about 200 characters. */
export function reasonOf(error: unknown): string {
  if (error instanceof RangeError && /call stack/.test(error.message)) return 'it is nested too deeply'
  const message = error instanceof Error ? error.message : String(error)
  return message.length > mostReason ? `${message.slice(0, mostReason)}...` : message
}
