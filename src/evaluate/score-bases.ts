/**
 * Bases that rows of files are compared with: a model that runs at the same time (`LiveBase`, all logits) or saved rows
 * (`SavedBase`). Both work on memory shared by the threads; a base's row is prepared once and serves all files.
 */
import { type BaseRow, scoreBase, scoreFields, scoreRow } from './divergence.js'
import { encodeRow, type RowLayout, SavedRow } from './references/index.js'

/** Length of a base's own row: see `BaseScore`. */
export const baseFields = 3
/** Nats; probability of the target token; probability of the most probable token. */
export const BaseScore = { nll: 0, probability: 1, topProbability: 2 } as const

/** Shared memory of a base for a number of rows. */
export type BaseMemory =
  | {
      readonly kind: 'live'
      /** (rows, size) each, f32. */
      readonly logits: SharedArrayBuffer
      readonly weights: SharedArrayBuffer
      /** (rows, topCount), int32. */
      readonly top: SharedArrayBuffer
      /** logSumExp and weightSum: (rows, 2), f64. */
      readonly facts: SharedArrayBuffer
      /** Rows to be saved: (rows, layout.rowBytes). */
      readonly save?: { readonly rows: SharedArrayBuffer; readonly layout: RowLayout }
    }
  | { readonly kind: 'saved'; readonly rows: SharedArrayBuffer; readonly layout: RowLayout }

export interface Base {
  /** Reads row `r`; writes `baseFields` numbers at `at`. @param serial number of the row in the whole evaluation */
  prepare(r: number, target: number, serial: number, out: Float64Array, at: number): void
  /** Scores a file's row of logits at `offset` against row `r`; writes `scoreFields` numbers at `at`. */
  score(r: number, logits: Float32Array, offset: number, target: number, out: Float64Array, at: number): void
}

/** Memory for `rows` rows of a live base. */
export function liveMemory(rows: number, size: number, topCount: number, layout?: RowLayout): BaseMemory {
  return {
    kind: 'live',
    logits: new SharedArrayBuffer(4 * rows * size),
    weights: new SharedArrayBuffer(4 * rows * size),
    top: new SharedArrayBuffer(4 * rows * topCount),
    facts: new SharedArrayBuffer(16 * rows),
    ...(layout && { save: { rows: new SharedArrayBuffer(rows * layout.rowBytes), layout } }),
  }
}

export function openBase(memory: BaseMemory, size: number, topCount: number): Base {
  return memory.kind === 'live' ? new LiveBase(memory, size, topCount) : new SavedBase(memory, size, topCount)
}

class LiveBase implements Base {
  private readonly logits: Float32Array
  private readonly weights: Float32Array
  private readonly tops: Int32Array
  private readonly facts: Float64Array
  private readonly saved: { readonly rows: Uint8Array; readonly layout: RowLayout } | undefined
  private readonly top: Int32Array
  private readonly row: BaseRow = { logSumExp: 0, weightSum: 0, topProbability: 0 }

  constructor(
    { logits, weights, top, facts, save }: Extract<BaseMemory, { kind: 'live' }>,
    private readonly size: number,
    private readonly topCount: number,
  ) {
    this.logits = new Float32Array(logits)
    this.weights = new Float32Array(weights)
    this.tops = new Int32Array(top)
    this.facts = new Float64Array(facts)
    this.saved = save && { rows: new Uint8Array(save.rows), layout: save.layout }
    this.top = new Int32Array(topCount)
  }

  prepare(r: number, target: number, serial: number, out: Float64Array, at: number): void {
    const { logits, size, row, saved } = this
    const offset = r * size
    scoreBase(logits, offset, size, this.weights, offset, this.topOf(r), row)
    this.facts[2 * r] = row.logSumExp
    this.facts[2 * r + 1] = row.weightSum
    const nll = row.logSumExp - logits[offset + target]
    out[at + BaseScore.nll] = nll
    out[at + BaseScore.probability] = Math.exp(-nll)
    out[at + BaseScore.topProbability] = row.topProbability
    if (!saved) return
    const { layout, rows } = saved
    const bytes = rows.subarray(r * layout.rowBytes, (r + 1) * layout.rowBytes)
    encodeRow(layout, logits.subarray(offset, offset + size), row.logSumExp, nll, serial, bytes)
  }

  score(
    r: number,
    logits: Float32Array,
    offset: number,
    target: number,
    out: Float64Array,
    at: number,
  ): void {
    const { row, facts, size } = this
    row.logSumExp = facts[2 * r]
    row.weightSum = facts[2 * r + 1]
    const base = { logits: this.logits, weights: this.weights, offset: r * size, top: this.topOf(r), row }
    scoreRow(base, logits, offset, size, this.top, target, out, at)
  }

  private topOf(r: number): Int32Array {
    return this.tops.subarray(r * this.topCount, (r + 1) * this.topCount)
  }
}

class SavedBase implements Base {
  private readonly rows: Uint8Array
  private readonly layout: RowLayout
  private readonly row: SavedRow
  private readonly top: Int32Array

  constructor(
    { rows, layout }: Extract<BaseMemory, { kind: 'saved' }>,
    private readonly size: number,
    topCount: number,
  ) {
    this.rows = new Uint8Array(rows)
    this.layout = layout
    this.row = new SavedRow(layout)
    this.top = new Int32Array(topCount)
  }

  prepare(r: number, _target: number, _serial: number, out: Float64Array, at: number): void {
    const { row } = this
    // A damaged row yields NaN, which the caller that adds up the scores detects.
    out[at + BaseScore.nll] = row.decode(this.bytes(r)) ? row.nll : Number.NaN
    out[at + BaseScore.probability] = Math.exp(-row.nll)
    out[at + BaseScore.topProbability] = row.topProbability
  }

  score(
    r: number,
    logits: Float32Array,
    offset: number,
    target: number,
    out: Float64Array,
    at: number,
  ): void {
    if (this.row.decode(this.bytes(r))) this.row.score(logits, offset, this.size, this.top, target, out, at)
    else out.fill(Number.NaN, at, at + scoreFields)
  }

  private bytes(r: number): Uint8Array {
    return this.rows.subarray(r * this.layout.rowBytes, (r + 1) * this.layout.rowBytes)
  }
}
