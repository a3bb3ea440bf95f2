/**
 * The main thread's side of scoring: logits are copied from llama.cpp's memory into memory shared with worker threads, and
 * while these compute, the next file decodes. The main thread only copies, in pieces, so that it is never blocked for long.
 *
 * A file waits for a free slot; a base is replaced once everything compared with it has been scored. Memory is therefore that
 * of the bases and of `slotCount` files, whatever the number of files.
 */
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { threadCount } from '../threads.js'
import { onceEnded, workerEntry } from '../workers.js'
import type { RowLayout } from './references/index.js'
import { liveMemory } from './score-bases.js'
import type { Answer, Job, SharedRows, Source } from './score-worker.js'

const slotCount = 2
const mostWorkers = 8
/** Floats copied at once: 8 MB, a few milliseconds. */
const copyPiece = 2 ** 21

export interface PoolOptions {
  /** Size of the vocabulary. */
  readonly size: number
  /** Limit of rows of logits at a time. */
  readonly rows: number
  /** k of the top-k overlap. */
  readonly topCount: number
  /** Number of live bases, or the layout of a saved one. */
  readonly bases: number | RowLayout
  /** Layout of the first base's rows, if they are saved. */
  readonly save?: RowLayout
  /** Threads that models decode with; default all cores. Half as many score, at most 8. */
  readonly threads?: number
}

interface Waiting {
  readonly parts: Answer[]
  readonly resolve: (scores: Float64Array[]) => void
  readonly reject: (error: unknown) => void
}

export class ScorePool {
  private readonly shared: SharedRows
  private readonly workers: Worker[]
  private readonly slots: { readonly logits: Float32Array; free: Promise<unknown> }[]
  private readonly waiting = new Map<number, Waiting>()
  private failure: Error | undefined
  private last: Promise<unknown> | undefined
  private nextId = 0
  private nextSlot = 0

  constructor(options: PoolOptions) {
    const { size, rows, topCount, bases, save, threads } = options
    const memories =
      typeof bases === 'number'
        ? Array.from({ length: bases }, (_, b) =>
            liveMemory(rows, size, topCount, b === 0 ? save : undefined),
          )
        : [{ kind: 'saved' as const, rows: new SharedArrayBuffer(rows * bases.rowBytes), layout: bases }]
    const slots = Array.from({ length: slotCount }, () => new SharedArrayBuffer(4 * rows * size))
    this.shared = { size, topCount, bases: memories, slots }
    this.slots = slots.map((slot) => ({ logits: new Float32Array(slot), free: Promise.resolve() }))
    // Half of the threads, since the next file decodes at the same time.
    const count = Math.min(Math.ceil((threads ?? threadCount()) / 2), mostWorkers)
    this.workers = Array.from({ length: count }, () => this.startWorker())
  }

  private startWorker(): Worker {
    const worker = new Worker(workerEntry('./score-worker', import.meta.url), { workerData: this.shared })
    worker.on('message', (answer: Answer) => this.receive(answer))
    onceEnded(worker, 'scores predictions', (error) => {
      this.failure ??= error // every job needs all workers
      for (const { reject } of this.waiting.values()) reject(this.failure)
      this.waiting.clear()
    })
    return worker
  }

  /** Takes a live base's rows. Resolves with its own scores (rows, baseFields) once copied and prepared. */
  async setBase(base: number, logits: Float32Array, targets: Int32Array, serial: number): Promise<Scored> {
    await this.idle()
    const memory = this.shared.bases[base]
    if (memory.kind !== 'live') throw new Error('a saved base has no logits')
    await copy(logits, new Float32Array(memory.logits))
    return { scores: this.post(targets, { kind: 'prepare', base, serial }) }
  }

  /** Takes the rows of a saved base. */
  async setSavedRows(bytes: Uint8Array, targets: Int32Array, serial: number): Promise<Scored> {
    await this.idle()
    const memory = this.shared.bases[0]
    if (memory.kind !== 'saved') throw new Error('a live base needs logits')
    new Uint8Array(memory.rows).set(bytes)
    return { scores: this.post(targets, { kind: 'prepare', base: 0, serial }) }
  }

  /** Scores rows of a file against bases. Resolves once the logits are copied. */
  async score(logits: Float32Array, targets: Int32Array, against: readonly number[]): Promise<Scored> {
    const index = this.nextSlot++ % slotCount
    const slot = this.slots[index]
    await slot.free
    await copy(logits, slot.logits)
    const scores = this.post(targets, { kind: 'score', source: { slot: index }, against })
    slot.free = scores.catch(() => {})
    return { scores }
  }

  /** Scores a base against other bases. */
  scoreBase(base: number, targets: Int32Array, against: readonly number[]): Scored {
    const source: Source = { base }
    return { scores: this.post(targets, { kind: 'score', source, against }) }
  }

  /** The first base's saved rows from the last `prepare`; a view. */
  savedRows(count: number): Uint8Array {
    const [memory] = this.shared.bases
    if (memory.kind !== 'live' || !memory.save) throw new Error('no rows are made')
    return new Uint8Array(memory.save.rows, 0, count * memory.save.layout.rowBytes)
  }

  /** Waits until no job is running. */
  private async idle(): Promise<void> {
    await this.last?.catch(() => {}) // workers process jobs in order
  }

  private post(targets: Int32Array, task: Job['task']): Promise<Float64Array[]> {
    if (this.failure) return Promise.reject(this.failure)
    const id = this.nextId++
    const { length: rows } = targets
    const count = this.workers.length
    const done = new Promise<Float64Array[]>((resolve, reject) => {
      this.waiting.set(id, { parts: [], resolve, reject })
    })
    for (const [w, worker] of this.workers.entries()) {
      const from = Math.floor((rows * w) / count)
      const to = Math.floor((rows * (w + 1)) / count)
      worker.postMessage({ id, from, to, targets, task } satisfies Job)
    }
    done.catch(() => {}) // handled by the caller that awaits the scores
    this.last = done
    return done
  }

  private receive(answer: Answer): void {
    const waiting = this.waiting.get(answer.id)
    if (!waiting) return
    waiting.parts.push(answer)
    if (waiting.parts.length < this.workers.length) return
    this.waiting.delete(answer.id)
    const parts = waiting.parts.sort((a, b) => a.from - b.from)
    waiting.resolve(parts[0].scores.map((_, b) => concatenate(parts.map(({ scores }) => scores[b]))))
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()))
  }
}

/** Pending scores; wrapped, so that awaiting the copy does not await them. */
export interface Scored {
  readonly scores: Promise<Float64Array[]>
}

async function copy(from: Float32Array, to: Float32Array): Promise<void> {
  for (let start = 0; start < from.length; start += copyPiece) {
    if (start > 0) await setImmediate()
    to.set(from.subarray(start, start + copyPiece), start)
  }
}

function concatenate(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((n, part) => n + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
