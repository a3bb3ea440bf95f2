/**
 * Runs slow work, such as reading headers with long vocabularies, on a separate thread. The module of the thread passes its
 * work to `answer`. Work that may crash the process belongs in `sandbox.ts`.
 */
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parentPort, Worker } from 'node:worker_threads'
import { FileError, QuenchError } from './errors.js'

const memoryMb = 2048

/** Message from a thread. */
type Answer<T> =
  | { readonly result: T }
  | { readonly fileError: { readonly path: string; readonly problem: string } }

/** Runs a module on a thread. @param timeout in ms. @throws FileError of the work, or about `path` if the thread fails */
export async function runOnThread<T>(
  name: string,
  from: string,
  input: unknown,
  { path, timeout }: { readonly path: string; readonly timeout?: number },
): Promise<T> {
  const worker = new Worker(workerEntry(name, from), {
    workerData: input,
    resourceLimits: { maxOldGenerationSizeMb: memoryMb },
  })
  let timer: NodeJS.Timeout | undefined
  try {
    const answer = await new Promise<Answer<T>>((resolve, reject) => {
      if (timeout !== undefined)
        timer = setTimeout(
          () => reject(new FileError(path, `it keeps a thread busy for more than ${timeout / 1000} s`)),
          timeout,
        )
      worker.once('message', resolve)
      worker.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? new FileError(path, 'it takes too much memory') : error,
        ),
      )
      worker.once('exit', () => reject(new FileError(path, 'the thread that works on it ended')))
    })
    if ('result' in answer) return answer.result
    throw new FileError(answer.fileError.path, answer.fileError.problem)
  } finally {
    clearTimeout(timer)
    await worker.terminate()
  }
}

/** In the thread: runs the work and sends its result, or the FileError that it throws. */
export async function answer<T>(work: () => Promise<T>): Promise<void> {
  try {
    parentPort?.postMessage({ result: await work() } satisfies Answer<T>)
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    parentPort?.postMessage({ fileError: { path: error.path, problem: error.problem } } satisfies Answer<T>)
  }
}

/**
 * Calls `ended` once, when a thread ends by itself: with the error that it threw, or with an error that it is gone if it threw
 * none, e.g. when it was terminated or ran out of memory.
 * @param doing what the thread does, e.g. `scores predictions`
 */
export function onceEnded(worker: Worker, doing: string, ended: (error: Error) => void): void {
  let error: Error | undefined
  worker.once('error', (thrown: NodeJS.ErrnoException) => {
    error =
      thrown.code === 'ERR_WORKER_OUT_OF_MEMORY'
        ? new QuenchError(`the thread that ${doing} has no memory left; use fewer --threads`)
        : thrown
  })
  // Emitted after an error too.
  worker.once('exit', (code) =>
    ended(error ?? new QuenchError(`the thread that ${doing} has ended before its work was done (${code})`)),
  )
}

/** @param name of the module, without extension, e.g. `./score-worker` @param from `import.meta.url` of the caller */
export function workerEntry(name: string, from: string): URL {
  if (!from.endsWith('.ts')) return new URL(`${name}.js`, from)
  // A worker does not inherit the TypeScript loader.
  const loader = pathToFileURL(createRequire(from).resolve('tsx/esm/api').replace(/cjs$/, 'mjs'))
  const worker = new URL(`${name}.ts`, from)
  const code = `import { register } from ${JSON.stringify(loader)}; register(); await import(${JSON.stringify(worker)})`
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`)
}

/**
 * Like `workerEntry`, for a process: the arguments of `fork`. Run from sources, the module needs the TypeScript loader, which
 * is not inherited.
 */
export function processEntry(name: string, from: string): { module: string; execArgv: string[] } {
  const typescript = from.endsWith('.ts')
  const module = fileURLToPath(new URL(`${name}.${typescript ? 'ts' : 'js'}`, from))
  if (!typescript) return { module, execArgv: [] }
  return { module, execArgv: ['--import', pathToFileURL(createRequire(from).resolve('tsx')).href] }
}

interface Member {
  readonly worker: Worker
  /** Rejects the last request. */
  reject?: (error: Error) => void
}

/**
 * Worker threads of one module, which answers every message with one. Each has one request at a time; they start when they are first
 * needed.
 */
export class WorkerTeam<Request, Result> {
  private readonly members = new Map<number, Member>()

  /**
   * @param entry of the module (workers.ts)
   * @param doing what a thread does, for errors, e.g. `rounds rows of a matrix`
   */
  constructor(
    private readonly entry: URL,
    private readonly doing: string,
  ) {}

  /** Sends a request to the member with this number, whose last request is settled. */
  ask(index: number, request: Request, transfer: readonly ArrayBuffer[]): Promise<Result> {
    const asked = this.member(index)
    const { worker } = asked
    return new Promise((resolve, reject) => {
      asked.reject = reject
      worker.ref() // keeps the process alive until the result is there
      worker.once('message', (result: Result) => {
        worker.unref()
        resolve(result)
      })
      worker.postMessage(request, transfer)
    })
  }

  private member(index: number): Member {
    const known = this.members.get(index)
    if (known) return known
    const made: Member = { worker: new Worker(this.entry) }
    made.worker.unref()
    this.members.set(index, made)
    onceEnded(made.worker, this.doing, (error) => {
      if (this.members.get(index) === made) this.members.delete(index)
      made.reject?.(error) // no effect if the last request is settled
    })
    return made
  }

  async dispose(): Promise<void> {
    await Promise.all(Array.from(this.members.values(), ({ worker }) => worker.terminate()))
  }
}
