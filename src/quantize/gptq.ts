/**
 * Error-compensating rounding (GPTQ, arXiv 2210.17323): the columns of a matrix are rounded one after another, and what
 * rounding one does to the output is made up for by the columns that are not rounded yet, in the metric of the second
 * moments H = X'X of the inputs. The grids of the groups stay as they are.
 *
 * With H = R R' for an upper triangular R, U = R^-1 is the factor of the inverse that the update needs: after column i,
 * w_j -= (w_i - w'_i) / U_ii * U_ij for j > i. Columns go by falling H_ii, so that those that matter are rounded while
 * the most others can still make up for them.
 */
import type { Grid } from '../formats/format.js'

/** A factor of H that rounding needs, and the order of columns. */
export interface RoundingOrder {
  /** `order[i]` is the column that comes at place i. */
  readonly order: Int32Array
  /** (n, n), upper triangular, in that order. */
  readonly factor: Float64Array
}

/** Second moments (n, n) with a share of their mean added to the diagonal, so that they can be inverted. */
export function damp(moments: Float32Array, share: number): Float32Array {
  const n = Math.sqrt(moments.length)
  const damped = moments.slice()
  let mean = 0
  for (let i = 0; i < n; i++) mean += moments[i * n + i] / n
  for (let i = 0; i < n; i++) damped[i * n + i] += share * mean || 1
  return damped
}

/** Prepares damped second moments (n, n) of a layer's inputs for any number of matrices that read them. */
export function roundingOrder(moments: Float32Array): RoundingOrder {
  const n = Math.sqrt(moments.length)
  const order = Int32Array.from({ length: n }, (_, i) => i).sort(
    (a, b) => moments[b * n + b] - moments[a * n + a],
  )
  const h = new Float64Array(n * n)
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) h[i * n + j] = moments[order[i] * n + order[j]]
  reverseCholesky(h, n)
  return { order, factor: invertUpper(h, n) }
}

/** The inverse of the moments, (n, n). */
export function inverseOf({ order, factor }: RoundingOrder): Float32Array {
  const n = order.length
  const inverse = new Float32Array(n * n)
  const sums = new Float64Array(n)
  // H = R R' and U = R^-1 give H^-1 = U' U, in the order of the columns.
  for (let i = 0; i < n; i++) {
    sums.fill(0)
    for (let k = 0; k <= i; k++) {
      const share = factor[k * n + i]
      for (let j = i; j < n; j++) sums[j] += share * factor[k * n + j]
    }
    for (let j = i; j < n; j++) {
      inverse[order[i] * n + order[j]] = sums[j]
      inverse[order[j] * n + order[i]] = sums[j]
    }
  }
  return inverse
}

/** Replaces the upper triangle of H by R with H = R R'. */
function reverseCholesky(h: Float64Array, n: number): void {
  for (let j = n - 1; j >= 0; j--) {
    let pivot = h[j * n + j]
    for (let k = j + 1; k < n; k++) pivot -= h[j * n + k] ** 2
    const root = Math.sqrt(Math.max(pivot, Number.MIN_VALUE))
    h[j * n + j] = root
    for (let i = 0; i < j; i++) {
      let value = h[i * n + j]
      for (let k = j + 1; k < n; k++) value -= h[i * n + k] * h[j * n + k]
      h[i * n + j] = value / root
    }
  }
}

/** The inverse of an upper triangular matrix; what lies below its diagonal is not read. */
function invertUpper(r: Float64Array, n: number): Float64Array {
  const inverse = new Float64Array(n * n)
  for (let i = n - 1; i >= 0; i--) {
    inverse[i * n + i] = 1 / r[i * n + i]
    for (let k = i + 1; k < n; k++) {
      const share = -r[i * n + k] / r[i * n + i]
      if (share === 0) continue
      for (let j = k; j < n; j++) inverse[i * n + j] += share * inverse[k * n + j]
    }
  }
  return inverse
}

export interface Rounded {
  /** The weights as they were when each was rounded: rounding them to the grid gives `q`. */
  readonly weights: Float32Array
  readonly q: Float32Array
}

/** Rounds a matrix (rows, n) to its grid. */
export function roundCompensated(
  weights: Float32Array,
  grid: Grid,
  { order, factor }: RoundingOrder,
): Rounded {
  const n = order.length
  const groupSize = weights.length / grid.scales.length
  const [lo, hi] = grid.range
  const result = { weights: new Float32Array(weights.length), q: new Float32Array(weights.length) }
  const row = new Float64Array(n)
  for (let start = 0; start < weights.length; start += n) {
    for (let i = 0; i < n; i++) row[i] = weights[start + order[i]]
    for (let i = 0; i < n; i++) {
      const at = start + order[i]
      const group = Math.floor(at / groupSize)
      const scale = grid.scales[group]
      const min = grid.mins?.[group] ?? 0
      const q = scale === 0 ? 0 : Math.min(hi, Math.max(lo, Math.floor((row[i] + min) / scale + 0.5)))
      result.weights[at] = row[i]
      result.q[at] = q
      const error = (row[i] - (scale * q - min)) / factor[i * n + i]
      for (let j = i + 1, u = i * n + i + 1; j < n; j++, u++) row[j] -= error * factor[u]
    }
  }
  return result
}
