/**
 * A worker thread that scores rows of logits. All workers see the same memory and get every job, each for its own share
 * of the rows; since messages arrive in order, the base's rows that a file is compared with were prepared before by the
 * same worker, and nothing has to be locked.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { scoreFields } from './divergence.js'
import { type BaseMemory, baseFields, openBase } from './score-bases.js'

/** Memory that the threads share. */
export interface SharedRows {
  /** Size of the vocabulary. */
  readonly size: number
  /** Number of most probable tokens whose overlap is counted. */
  readonly topCount: number
  readonly bases: readonly BaseMemory[]
  /** Logits of files, (rows, size) f32 each. */
  readonly slots: readonly SharedArrayBuffer[]
}

/** What a worker is asked: to do rows `from` to `to`. `targets` are the tokens that came, of all rows. */
export interface Job {
  readonly id: number
  readonly from: number
  readonly to: number
  readonly targets: Int32Array
  readonly task:
    | { readonly kind: 'prepare'; readonly base: number; readonly serial: number }
    | { readonly kind: 'score'; readonly source: Source; readonly against: readonly number[] }
}

/** Where the logits of a file are. */
export type Source = { readonly slot: number } | { readonly base: number }

/** The scores of the rows of a job, an array for each base. */
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
