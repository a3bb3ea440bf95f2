/** Worker threads of one module, each of which answers one request at a time. They start when they are first needed. */
import { Worker } from 'node:worker_threads'
import { onceEnded } from './workers.js'

interface Member {
  readonly worker: Worker
  /** Rejects the last request. */
  reject?: (error: Error) => void
}

/** The module answers every message with one. */
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
