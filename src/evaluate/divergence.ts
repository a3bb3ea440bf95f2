/**
 * The inner loops of evaluation: one row of logits (a prediction of one token) of a file against the base's row.
 *
 * With p = softmax(r) of the base's logits r, q = softmax(x) of the file's logits x, and c = logsumexp(r) - logsumexp(x),
 *   KL(p || q) = sum_i p_i * (r_i - x_i) - c,    KL(q || p) = c - sum_i q_i * (r_i - x_i),
 * so equal rows give exactly 0. Sums are f64 over f32 logits. The base's probabilities are kept as f32 weights together
 * with their sum, so that they form a distribution despite rounding. Nothing is allocated. divergence-statistics.ts adds
 * tokens up.
 */
import { expOfNegative } from './exp.js'

/** Length of the row of scores that `scoreRow` writes: see `Score`. */
export const scoreFields = 8
/**
 * Indices of a row of scores: nats; the probability of the target token; 1 if the most probable token is the base's; the share
 * of the top-k tokens that are the base's; and the error of `kld`, which is 0 except for a saved base: a strict bound of one
 * part, and the variance of the other.
 */
export const Score = {
  nll: 0,
  kld: 1,
  reversedKld: 2,
  probability: 3,
  top1: 4,
  topOverlap: 5,
  slack: 6,
  variance: 7,
} as const

/** Properties of the base's row, as written by `scoreBase`. */
export interface BaseRow {
  /** log(sum(exp(logits))). The negative log-likelihood of token t is this - logits[t]. */
  logSumExp: number
  /** Sum of the f32 weights. */
  weightSum: number
  /** Probability of the most probable token. */
  topProbability: number
}

/** Finds the `top.length` largest logits of a row: their ids, largest first; ties keep their order. */
export function topTokens(logits: Float32Array, offset: number, size: number, top: Int32Array): void {
  const count = Math.min(top.length, size)
  for (let i = 0; i < count; i++) insert(logits, offset, top, i, i)
  let least = logits[offset + top[count - 1]]
  const end = offset + size
  for (let i = offset + count; i < end; i++) {
    if (logits[i] > least) {
      insert(logits, offset, top, count - 1, i - offset)
      least = logits[offset + top[count - 1]]
    }
  }
}

/** Inserts a token into the first `last` of `top`, which are sorted; the entry at `last` is overwritten. */
function insert(logits: Float32Array, offset: number, top: Int32Array, last: number, token: number): void {
  const x = logits[offset + token]
  let at = last
  while (at > 0 && logits[offset + top[at - 1]] < x) {
    top[at] = top[at - 1]
    at--
  }
  top[at] = token
}

/**
 * Reads the base's row, `size` logits from `offset` on.
 * @param weights receives exp(logits - max) as f32, from `weightOffset` on
 * @param top receives the top-k tokens
 */
export function scoreBase(
  logits: Float32Array,
  offset: number,
  size: number,
  weights: Float32Array,
  weightOffset: number,
  top: Int32Array,
  row: BaseRow,
): void {
  topTokens(logits, offset, size, top)
  const max = logits[offset + top[0]]
  let sum = 0
  let weightSum = 0
  for (let i = 0; i < size; i++) {
    const e = expOfNegative(logits[offset + i] - max)
    weights[weightOffset + i] = e
    weightSum += weights[weightOffset + i]
    sum += e
  }
  row.logSumExp = max + Math.log(sum)
  row.weightSum = weightSum
  row.topProbability = 1 / sum
}

/** The base's row as input of `scoreRow`: the results of `scoreBase`, and the location of its logits and weights. */
export interface PreparedRow {
  readonly logits: Float32Array
  readonly weights: Float32Array
  readonly offset: number
  readonly top: Int32Array
  readonly row: BaseRow
}

/**
 * Scores a file's row, `size` logits from `offset` on, against the base's.
 * @param top scratch for the file's top-k tokens, as many as the base's
 * @param target the target token
 * @param out receives `scoreFields` numbers from `at` on
 */
export function scoreRow(
  base: PreparedRow,
  logits: Float32Array,
  offset: number,
  size: number,
  top: Int32Array,
  target: number,
  out: Float64Array,
  at: number,
): void {
  const { row } = base
  topTokens(logits, offset, size, top)
  const max = logits[offset + top[0]]
  const { sum, forward, reversed } = addUp(base, logits, offset, size, max)
  const logSumExp = max + Math.log(sum)
  const shift = row.logSumExp - logSumExp
  out[at + Score.nll] = logSumExp - logits[offset + target]
  // Rounding can give about -1e-16; NaN stays NaN.
  out[at + Score.kld] = Math.max(forward / row.weightSum - shift, 0)
  out[at + Score.reversedKld] = Math.max(shift - reversed / sum, 0)
  out[at + Score.probability] = Math.exp(logits[offset + target] - logSumExp)
  out[at + Score.top1] = top[0] === base.top[0] ? 1 : 0
  out[at + Score.topOverlap] = overlap(top, base.top)
  out[at + Score.slack] = 0
  out[at + Score.variance] = 0
}

const sums = { sum: 0, forward: 0, reversed: 0 }

/** The loop over the vocabulary, in a separate function so that the compiler inlines the exponential. */
function addUp(base: PreparedRow, logits: Float32Array, offset: number, size: number, max: number) {
  const { logits: baseLogits, weights, offset: baseOffset } = base
  let sum = 0
  let forward = 0
  let reversed = 0
  for (let i = 0; i < size; i++) {
    const x = logits[offset + i]
    const e = expOfNegative(x - max)
    const p = weights[baseOffset + i]
    const d = baseLogits[baseOffset + i] - x
    sum += e
    if (p !== 0) forward += p * d // if p is 0, both may be -Infinity
    if (e !== 0) reversed += e * d
  }
  sums.sum = sum
  sums.forward = forward
  sums.reversed = reversed
  return sums
}

/** Share of `a` that is in `b`. */
export function overlap(a: Int32Array, b: Int32Array): number {
  let common = 0
  for (let i = 0; i < a.length; i++) if (b.includes(a[i])) common++
  return common / a.length
}
