/**
 * A worker thread that scores rows of logits. All workers share the same memory and get every job, each for its own share of
 * the rows. Messages arrive in order, so the same worker has already prepared the base's rows that a file is compared with,
 * and no locks are needed.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { scoreFields } from './divergence.js'
import { type BaseMemory, baseFields, openBase } from './score-bases.js'

/** Memory shared by the threads. */
export interface SharedRows {
  /** Size of the vocabulary. */
  readonly size: number
  /** k of the top-k overlap. */
  readonly topCount: number
  readonly bases: readonly BaseMemory[]
  /** Logits of files, (rows, size) f32 each. */
  readonly slots: readonly SharedArrayBuffer[]
}

/** A request to process rows `from` to `to`. `targets` are the target tokens of all rows. */
export interface Job {
  readonly id: number
  readonly from: number
  readonly to: number
  readonly targets: Int32Array
  readonly task:
    | { readonly kind: 'prepare'; readonly base: number; readonly serial: number }
    | { readonly kind: 'score'; readonly source: Source; readonly against: readonly number[] }
}

/** Location of a file's logits. */
export type Source = { readonly slot: number } | { readonly base: number }

/** The scores of a job's rows, one array per base. */
export interface Answer {
  readonly id: number
  readonly from: number
  readonly scores: readonly Float64Array<ArrayBuffer>[]
}

const { size, topCount, bases: memories, slots: buffers } = workerData as SharedRows
const bases = memories.map((memory) => openBase(memory, size, topCount))
const baseLogits = memories.map((m) => (m.kind === 'live' ? new Float32Array(m.logits) : undefined))
const slots = buffers.map((buffer) => new Float32Array(buffer))

parentPort?.on('message', (job: Job) => {
  const answer: Answer = { id: job.id, from: job.from, scores: run(job) }
  parentPort?.postMessage(
    answer,
    answer.scores.map((array) => array.buffer),
  )
})

function run({ from, to, targets, task }: Job): Float64Array<ArrayBuffer>[] {
  if (task.kind === 'prepare') {
    const scores = new Float64Array((to - from) * baseFields)
    for (let r = from; r < to; r++)
      bases[task.base].prepare(r, targets[r], task.serial + r, scores, (r - from) * baseFields)
    return [scores]
  }
  const logits = 'slot' in task.source ? slots[task.source.slot] : baseLogits[task.source.base]
  if (!logits) throw new Error('a saved reference has no logits')
  return task.against.map((base) => {
    const scores = new Float64Array((to - from) * scoreFields)
    for (let r = from; r < to; r++)
      bases[base].score(r, logits, r * size, targets[r], scores, (r - from) * scoreFields)
    return scores
  })
}
