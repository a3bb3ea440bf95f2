/**
 * The factor that error-compensating rounding needs, for thousands of inputs: with H = R R' for an upper triangular R, it is
 * U = R^-1, in the order in which columns are rounded. In reversed order, that is the inverse of the usual Cholesky factor:
 * with A the matrix H in reversed order and A = L L', U read backwards is L^-1.
 *
 * Halves of a matrix are factored one after the other, and theirs, down to 128 columns, which are plain loops in f64; what connects the
 * halves is matrix products. The inverse takes the place of the matrix.
 */

import {
  copyPart,
  lowerTimes,
  type Multiplier,
  pastePart,
  subtractGram,
  type Triangle,
  timesTriangle,
} from '../backends/triangular.js'
import { QuenchError } from '../errors.js'

/** The factor of second moments that rounding needs, and the order of columns. */
export interface InputFactor {
  /** `order[i]` is the column at position i. */
  readonly order: Int32Array
  /** U, (n, n), upper triangular, in that order: H^-1 = U' U. */
  readonly inverse: Float32Array
}

/** Columns of a triangle that is factored in loops. */
const block = 128

/** Added to every diagonal, as a share of its mean, for inputs that are always zero. */
const least = 1e-6

/** Second moments (n, n) with a share of the mean of their diagonal added to it, so that they can be inverted. */
export function damp(moments: Float32Array, share: number): Float32Array {
  const n = Math.sqrt(moments.length)
  const added = share * meanDiagonal(moments) || 1
  const damped = moments.slice()
  for (let i = 0; i < n; i++) damped[i * n + i] += added
  return damped
}

/**
 * Second moments (n, n) with each element of the diagonal increased by a share of itself. That shrinks correlations towards zero, as is
 * right for few tokens (a shrinkage estimator, as in Ledoit and Wolf 2004, with the diagonal as its target), and is not distorted by
 * a few inputs that are thousands of times as large as all others.
 */
export function shrink(moments: Float32Array, share: number): Float32Array {
  const n = Math.sqrt(moments.length)
  const added = least * meanDiagonal(moments) || 1
  const shrunk = moments.slice()
  for (let i = 0; i < n; i++) shrunk[i * n + i] += share * moments[i * n + i] + added
  return shrunk
}

function meanDiagonal(moments: Float32Array): number {
  const n = Math.sqrt(moments.length)
  let mean = 0
  for (let i = 0; i < n; i++) mean += moments[i * n + i] / n
  return mean
}

/**
 * Factors damped second moments (n, n). Columns are in order of falling H_ii, so that important ones are rounded while most
 * others can still compensate for them. @throws QuenchError if the moments are not positive definite
 */
export async function factorize(moments: Float32Array, products: Multiplier): Promise<InputFactor> {
  const n = Math.sqrt(moments.length)
  const order = Int32Array.from({ length: n }, (_, i) => i).sort(
    (a, b) => moments[b * n + b] - moments[a * n + a],
  )
  const a = new Float32Array(n * n)
  for (let i = 0; i < n; i++) {
    const row = order[n - 1 - i] * n
    for (let j = 0; j <= i; j++) a[i * n + j] = moments[row + order[n - 1 - j]]
  }
  await invertFactor(a, n, 0, n, products)
  return { order, inverse: a.reverse() }
}

/**
 * Replaces a lower triangle of A, (size, size), from row and column `from` on, by L^-1, where A = L L'. With halves 1 and 2:
 * L_21 = A_21 L_11^-T, L_22 that of A_22 - L_21 L_21', and (L^-1)_21 = -L_22^-1 L_21 L_11^-1.
 */
async function invertFactor(
  a: Float32Array,
  n: number,
  from: number,
  size: number,
  products: Multiplier,
): Promise<void> {
  if (size <= block) {
    invertTriangle(a, n, from, size)
    return
  }
  const half = block * Math.ceil(size / (2 * block))
  const [middle, rest] = [from + half, size - half]
  await invertFactor(a, n, from, half, products)
  const first: Triangle = { values: a, n, from, size: half, side: 'lower' }
  const below = await timesTriangle(copyPart(a, n, middle, rest, from, half), first, products, true)
  await subtractGram(below, half, a, n, middle, products)
  await invertFactor(a, n, middle, rest, products)
  const second: Triangle = { values: a, n, from: middle, size: rest, side: 'lower' }
  const found = await lowerTimes(second, await timesTriangle(below, first, products), products)
  for (let i = 0; i < found.length; i++) found[i] = -found[i]
  pastePart(found, a, n, middle, rest, from, half)
}

/** The same in loops. @throws QuenchError if the moments are not positive definite */
function invertTriangle(a: Float32Array, n: number, from: number, size: number): void {
  const l = new Float64Array(size * size)
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) {
      let value = a[(from + i) * n + from + j]
      for (let k = 0; k < j; k++) value -= l[i * size + k] * l[j * size + k]
      if (i === j && !(value > 0))
        throw new QuenchError(
          'the second moments of its inputs are not positive definite, as those of activations that are infinite or not numbers',
        )
      l[i * size + j] = i === j ? Math.sqrt(value) : value / l[j * size + j]
    }
  const inverse = new Float64Array(size * size)
  for (let i = 0; i < size; i++) {
    const row = inverse.subarray(i * size, (i + 1) * size)
    row[i] = 1
    for (let k = 0; k < i; k++) {
      const share = l[i * size + k]
      for (let j = 0; j <= k; j++) row[j] -= share * inverse[k * size + j]
    }
    for (let j = 0; j <= i; j++) row[j] /= l[i * size + i]
    a.set(row.subarray(0, i + 1), (from + i) * n + from)
  }
}
