/** Rows of quantized weights that get the codes of the grid on which the weights lie, on worker threads. */
import { threadCount } from '../threads.js'
import { WorkerTeam, workerEntry } from '../workers.js'
import type { Placed } from './place.js'

/** Rows for one thread. */
export interface KeepRequest {
  /** ggml_type id of a format that holds grids. */
  readonly type: number
  readonly weights: Float32Array
  /** As a quantizer stores the weights. */
  readonly bytes: Uint8Array
}

export interface KeptRows {
  readonly bytes: Uint8Array
  readonly placed: Placed
}

/** Threads that keep codes. */
export class KeepThreads {
  private readonly team = new WorkerTeam<KeepRequest, KeptRows>(
    workerEntry('./keep-worker', import.meta.url),
    'keeps the codes of weights on a grid',
  )
  private readonly free: number[]
  private readonly waiting: ((member: number) => void)[] = []

  constructor(threads = threadCount()) {
    this.free = Array.from({ length: threads }, (_, i) => i)
  }

  /** Resolves when a thread is free, to a function that works on it; the arrays passed to that are lost to the caller. */
  async next(): Promise<(request: KeepRequest) => Promise<KeptRows>> {
    const member = this.free.pop() ?? (await new Promise<number>((resolve) => this.waiting.push(resolve)))
    return async (request) => {
      try {
        const buffers = [request.weights.buffer, request.bytes.buffer] as ArrayBuffer[]
        return await this.team.ask(member, request, buffers)
      } finally {
        const next = this.waiting.shift()
        if (next) next(member)
        else this.free.push(member)
      }
    }
  }

  dispose(): Promise<void> {
    return this.team.dispose()
  }
}
