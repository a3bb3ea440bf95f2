/**
 * The inner loops of evaluation: one row of logits (a prediction of one token) against the reference's row.
 *
 * With p = softmax(r) of the reference's logits r, and logits x of the file,
 *   KL(p || softmax(x)) = sum_i p_i * (r_i - x_i) - (logsumexp(r) - logsumexp(x)),
 * so equal rows give exactly 0. Sums are f64 over f32 logits. Nothing is allocated.
 */

/** What one row says; reused from row to row. */
export interface RowScore {
  /** log(sum(exp(logits))). The negative log-likelihood of token t is this - logits[t]. */
  logSumExp: number
  /** The most probable token; the first of several equals. */
  top: number
  /** Nats from the reference; 0 for the reference itself. */
  kld: number
}

/** Scores the reference's row, `probabilities.length` logits from `offset` on, and fills in its `probabilities`. */
export function scoreReference(
  logits: Float32Array,
  offset: number,
  probabilities: Float64Array,
  score: RowScore,
): void {
  const size = probabilities.length
  const top = argmax(logits, offset, size)
  const max = logits[offset + top]
  let sum = 0
  for (let i = 0; i < size; i++) {
    const e = Math.exp(logits[offset + i] - max)
    probabilities[i] = e
    sum += e
  }
  const scale = 1 / sum
  for (let i = 0; i < size; i++) probabilities[i] *= scale
  score.logSumExp = max + Math.log(sum)
  score.top = top
  score.kld = 0
}

/** Scores the row of a file, which begins at the same `offset` as the reference's row that `scoreReference` has seen. */
export function scoreRow(
  reference: Float32Array,
  logits: Float32Array,
  offset: number,
  probabilities: Float64Array,
  referenceLogSumExp: number,
  score: RowScore,
): void {
  const size = probabilities.length
  const top = argmax(logits, offset, size)
  const max = logits[offset + top]
  let sum = 0
  let distance = 0
  for (let i = 0; i < size; i++) {
    const x = logits[offset + i]
    const p = probabilities[i]
    sum += Math.exp(x - max)
    if (p !== 0) distance += p * (reference[offset + i] - x) // where p is 0 both may be -Infinity
  }
  const logSumExp = max + Math.log(sum)
  const kld = distance - (referenceLogSumExp - logSumExp)
  score.logSumExp = logSumExp
  score.top = top
  score.kld = Math.max(kld, 0) // below 0 by a rounding error of 1e-16 or so; NaN stays
}

function argmax(logits: Float32Array, offset: number, size: number): number {
  let top = 0
  let max = logits[offset]
  for (let i = 1; i < size; i++) {
    const x = logits[offset + i]
    if (x > max) {
      max = x
      top = i
    }
  }
  return top
}
