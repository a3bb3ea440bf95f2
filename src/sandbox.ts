/**
 * Work on what comes from strangers (chat templates, JSON schemas) in a process of its own. It may loop for ever, and it may end
 * the process that it runs in: V8 aborts on arrays and heaps that are too large, which the limits of a worker thread do not
 * catch. Requests are answered one after another, each within a time limit; a process that died is started again for the next.
 *
 * The process prints nothing, and it ends when its parent does, since that closes the channel between them. The module of the
 * process calls `serve`.
 */
import { type ChildProcess, fork } from 'node:child_process'
import vm from 'node:vm'
import { FileError, QuenchError } from './errors.js'
import { processEntry } from './workers.js'

/** An answer, or a clause that says why there is none, e.g. "it takes more than 30 s". */
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
/** After its own time limit, what the process may still take to say so. */
const grace = 5_000
const mostReason = 200
const tooMuchMemory = 'it takes too much memory'

export class Sandbox<Request, Result> {
  private child: ChildProcess | undefined

  /**
   * @param name of the module, without ending, e.g. `./chat-worker`
   * @param from `import.meta.url` of the caller
   * @param input what the module is started with
   * @param timeout milliseconds that a request may take
   */
  constructor(
    private readonly name: string,
    private readonly from: string,
    private readonly input: unknown,
    private readonly timeout: number,
  ) {}

  /** To be called when the request before is answered. @throws FileError of the module's start */
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
    child.on('error', () => {}) // of a message that no longer arrives
    // It may be busy and not see that the channel is closed.
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
        child.send(message as object, () => {}) // a failure is an 'exit' as well
      } catch (error) {
        lost(reasonOf(error)) // e.g. a message of too many levels
      }
    })
    if ('fileError' in reply) throw new FileError(reply.fileError.path, reply.fileError.problem)
    if ('bug' in reply) throw new Error(reply.bug)
    return reply
  }
}

/**
 * In the process: answers requests. What `handle` throws as a `QuenchError` is the problem of the request.
 * @param start reads what all requests need, and gives the function that answers one
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
  // Signals from the terminal are the parent's to handle.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {})
}

/** Runs a function in at most so many milliseconds. */
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

/** The message of an error that strangers can word, at most some 200 characters of it. */
export function reasonOf(error: unknown): string {
  if (error instanceof RangeError && /call stack/.test(error.message)) return 'it is nested too deeply'
  const message = error instanceof Error ? error.message : String(error)
  return message.length > mostReason ? `${message.slice(0, mostReason)}...` : message
}
