/**
 * The step from a matrix W, (out, n), to the least-squares solution for its target products, regularized towards the matrix:
 * (Y'X - W X'X) H^-1, with H the moments X'X shrunk towards their diagonal.
 */

import { type Multiplier, timesTriangle } from '../backends/triangular.js'
import type { InputFactor } from './factor.js'

/** Rows processed at once. */
const chunk = 1024

/**
 * @param weights W
 * @param wanted Y'X, (out, n)
 * @param inputs X'X, (n, n)
 * @param factor of H
 */
export async function leastSquaresStep(
  weights: Float32Array,
  wanted: Float32Array,
  inputs: Float32Array,
  factor: InputFactor,
  products: Multiplier,
): Promise<Float32Array> {
  const n = factor.order.length
  const step = new Float32Array(weights.length)
  for (let from = 0; from < weights.length; from += chunk * n) {
    const to = Math.min(weights.length, from + chunk * n)
    const missing = await products.multiply(weights.subarray(from, to), inputs, [(to - from) / n, n, n])
    for (let i = 0; i < missing.length; i++) missing[i] = wanted[from + i] - missing[i]
    step.set(await timesInverse(missing, factor, products), from)
  }
  return step
}

/**
 * The step of every matrix whose targets are the teacher's products Z W' of other inputs Z: W times (Z'X - X'X) H^-1. This is the second
 * factor, (n, n), which all matrices with these inputs share.
 * @param others Z'X, (n, n), which becomes the result
 */
export async function shareStep(
  others: Float32Array,
  inputs: Float32Array,
  factor: InputFactor,
  products: Multiplier,
): Promise<void> {
  const n = factor.order.length
  for (let from = 0; from < others.length; from += chunk * n) {
    const rows = others.subarray(from, from + chunk * n)
    for (let i = 0; i < rows.length; i++) rows[i] -= inputs[from + i]
    rows.set(await timesInverse(rows, factor, products))
  }
}

/** Rows, (rows, n), times H^-1 = U' U. */
async function timesInverse(
  rows: Float32Array,
  { order, inverse }: InputFactor,
  products: Multiplier,
): Promise<Float32Array> {
  const n = order.length
  const factor = { values: inverse, n, from: 0, size: n, side: 'upper' } as const
  const ordered = new Float32Array(rows.length)
  for (let from = 0; from < rows.length; from += n)
    for (let i = 0; i < n; i++) ordered[from + i] = rows[from + order[i]]
  const half = await timesTriangle(ordered, factor, products, true)
  const whole = await timesTriangle(half, factor, products)
  for (let from = 0; from < rows.length; from += n)
    for (let i = 0; i < n; i++) ordered[from + order[i]] = whole[from + i]
  return ordered
}
