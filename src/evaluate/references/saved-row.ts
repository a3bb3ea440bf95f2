/**
 * One prediction of a saved reference: its top-k tokens, the total probability of all others (the tail), and a few tokens
 * sampled from the tail.
 *
 * Layout, little-endian: f32 nll of the target token; u16 tail; K entries, most probable first; S samples. Entry and sample:
 * id (u16, or u24 for a vocabulary above 65,536), u16 log-probability. A code c means exp(-24 c / 65535). A row takes at most
 * 2 % of the 2 bytes * vocabulary that llama-perplexity keeps.
 *
 * The divergence is split in two. That of the K tokens and the tail as one token is computed from the row and never exceeds
 * the true one; that within the tail is estimated without bias from the samples. With tail mass m, file's tail mass q_T, and r
 * = (q_i / q_T) / (p_i / m) of a sample i, r - 1 - log r has the mean KL(p_tail || q_tail), since r has the mean 1; it is
 * never negative, and its spread is of second order (Schulman, "Approximating KL divergence", 2020).
 */

import { Random } from '../../random.js'
import { overlap, Score, topTokens } from '../divergence.js'
import { expOfNegative } from '../exp.js'

export interface RowLayout {
  /** Size of the vocabulary. */
  readonly size: number
  /** Top-k tokens per row. */
  readonly top: number
  /** Tokens sampled from the tail; 0 if there is no tail. */
  readonly samples: number
  readonly idBytes: 2 | 3
  readonly rowBytes: number
}

const mostEntries = 320
const headBytes = 6
const nats = 24
/** How far below 0 rounding can put the nll of a certain token. */
const roundingError = 1e-3
/** Nats between neighbouring codes. */
const step = nats / 65535
const share = 0.02

/**
 * The layout for a vocabulary: a fifth of the entries that fit are samples. Tiny vocabularies get one entry more than fits.
 */
export function rowLayout(size: number): RowLayout {
  const idBytes = size > 65536 ? 3 : 2
  const room = Math.floor((share * 2 * size - headBytes) / (idBytes + 2))
  const entries = Math.min(mostEntries, Math.max(2, room))
  const samples = size <= entries ? 0 : Math.max(1, Math.round(entries / 5))
  const top = Math.min(size, entries - samples)
  return { size, top, samples, idBytes, rowBytes: headBytes + (top + samples) * (idBytes + 2) }
}

const codeOf = (logProbability: number): number =>
  Math.round(Math.min(nats, Math.max(0, -logProbability)) / step)

/** Writes the row of `logits` into `bytes`. @param serial number of the row, the only seed of its samples */
export function encodeRow(
  { size, top: count, samples, idBytes, rowBytes }: RowLayout,
  logits: Float32Array,
  logSumExp: number,
  nll: number,
  serial: number,
  bytes: Uint8Array,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, rowBytes)
  const top = new Int32Array(count)
  topTokens(logits, 0, size, top)
  const inTop = new Uint8Array(size)
  for (const id of top) inTop[id] = 1
  let tail = 0
  for (let i = 0; i < size; i++) if (inTop[i] === 0) tail += expOfNegative(Math.min(0, logits[i] - logSumExp))
  view.setFloat32(0, nll, true)
  view.setUint16(4, codeOf(Math.log(tail)), true)
  let at = headBytes
  const write = (id: number): void => {
    view.setUint16(at, id & 0xffff, true)
    if (idBytes === 3) view.setUint8(at + 2, id >> 16)
    view.setUint16(at + idBytes, codeOf(logits[id] - logSumExp), true)
    at += idBytes + 2
  }
  top.forEach(write)
  // Systematic sampling: one random number, then equal steps of tail probability.
  let point = (new Random(serial, 0x7a11).uniform() / samples) * tail
  let sum = 0
  let drawn = 0
  let last = 0
  for (let i = 0; i < size && drawn < samples; i++) {
    if (inTop[i] === 1) continue
    sum += expOfNegative(Math.min(0, logits[i] - logSumExp))
    last = i
    for (; drawn < samples && sum > point; drawn++) {
      write(i)
      point += tail / samples
    }
  }
  for (; drawn < samples; drawn++) write(last) // a tail of zero probability
}

/** Reads rows and scores logits against them. */
export class SavedRow {
  nll = 0
  topProbability = 0
  private readonly ids: Int32Array
  /** Log-probabilities; the top-k tokens and `tail` together form a distribution. */
  private readonly logs: Float64Array
  private tail = 0

  constructor(private readonly layout: RowLayout) {
    this.ids = new Int32Array(layout.top + layout.samples)
    this.logs = new Float64Array(layout.top + layout.samples)
  }

  /** Whether the row is valid: every id is within the vocabulary and the nll is a possible one. */
  decode(bytes: Uint8Array): boolean {
    const { top, samples, idBytes, rowBytes, size } = this.layout
    const view = new DataView(bytes.buffer, bytes.byteOffset, rowBytes)
    this.nll = view.getFloat32(0, true)
    this.tail = samples === 0 ? 0 : Math.exp(-step * view.getUint16(4, true))
    let sum = this.tail
    for (let k = 0; k < top + samples; k++) {
      const at = headBytes + k * (idBytes + 2)
      const id = view.getUint16(at, true) + (idBytes === 3 ? view.getUint8(at + 2) << 16 : 0)
      if (id >= size) return false
      this.ids[k] = id
      this.logs[k] = -step * view.getUint16(at + idBytes, true)
      if (k < top) sum += Math.exp(this.logs[k])
    }
    if (!(this.nll > -roundingError && this.nll < Number.POSITIVE_INFINITY)) return false
    const excess = Math.log(sum)
    for (let k = 0; k < top + samples; k++) this.logs[k] -= excess
    this.tail /= sum
    this.topProbability = Math.exp(this.logs[0])
    return true
  }

  /** Scores a row of logits like `scoreRow`. @param top scratch, not longer than the row's own top-k */
  score(
    logits: Float32Array,
    offset: number,
    size: number,
    top: Int32Array,
    target: number,
    out: Float64Array,
    at: number,
  ): void {
    const { ids, logs, layout } = this
    topTokens(logits, offset, size, top)
    const max = logits[offset + top[0]]
    let sum = 0
    for (let i = 0; i < size; i++) sum += expOfNegative(logits[offset + i] - max)
    const logSumExp = max + Math.log(sum)

    let forward = 0
    let reversed = 0
    let slack = 0
    let rest = 1
    for (let k = 0; k < layout.top; k++) {
      const logQ = logits[offset + ids[k]] - logSumExp
      const [p, q, d] = [Math.exp(logs[k]), Math.exp(logQ), logs[k] - logQ]
      forward += p * d
      reversed -= q * d
      slack += p * Math.abs(d)
      rest -= q
    }
    let variance = 0
    if (layout.samples > 0) {
      const tailQ = Math.max(rest, 1e-15)
      const d = Math.log(this.tail / tailQ)
      forward += this.tail * d
      reversed -= tailQ * d
      slack += this.tail * Math.abs(d)
      const inside = this.insideTail(logits, offset, logSumExp, tailQ)
      forward += this.tail * inside.forward
      reversed += tailQ * inside.reversed
      slack += this.tail * inside.slope
      variance = this.tail ** 2 * inside.variance
    }
    out[at + Score.nll] = logSumExp - logits[offset + target]
    out[at + Score.kld] = Math.max(forward, 0)
    out[at + Score.reversedKld] = Math.max(reversed, 0)
    out[at + Score.probability] = Math.exp(logits[offset + target] - logSumExp)
    out[at + Score.top1] = top[0] === ids[0] ? 1 : 0
    out[at + Score.topOverlap] = overlap(top, ids.subarray(0, top.length))
    out[at + Score.slack] = step * slack + step ** 2
    out[at + Score.variance] = variance
  }

  /** Divergence within the tail, estimated from the samples; `variance` is on average not less than the true one. */
  private insideTail(logits: Float32Array, offset: number, logSumExp: number, tailQ: number) {
    const { ids, logs, layout } = this
    const { top, samples } = layout
    const shift = Math.log(this.tail / tailQ)
    let forward = 0
    let squares = 0
    let reversed = 0
    let slope = 0
    for (let k = top; k < top + samples; k++) {
      const logR = logits[offset + ids[k]] - logSumExp - logs[k] + shift
      const r = Math.exp(logR)
      const own = r - 1 - logR
      forward += own / samples
      squares += own ** 2 / samples
      reversed += (r * logR - r + 1) / samples
      slope += Math.abs(r - 1) / samples
    }
    return { forward, reversed, slope, variance: squares / samples }
  }
}
