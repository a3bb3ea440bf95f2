/**
 * Adam (arXiv 1412.6980) with f32 moments, bias correction and rates in the natural units of the values: with u the
 * unit of a value, the step is taken on value / u, so both the gradient and the update are multiplied by u.
 *
 * One pass over memory, four values at a time (kernel.wat), in pieces that are copied to the kernel's memory and back. The same
 * as graph ops takes about fifteen passes, and a JavaScript loop, which computes in f64, four times as long.
 */
import type { AdamStep } from '../backend.js'
import { inKernel, kernel, pieceSize } from './kernel.js'

export interface HostMoments {
  readonly first: Float32Array
  readonly second: Float32Array
}

const beta1 = 0.9
const beta2 = 0.95
/** Gradients of a loss per token with respect to quantization steps are small; this is far below them. */
const epsilon = 1e-15

/** Factor of first moment / root of the second moment, apart from the unit: the learning rate with bias correction. */
export function moveOf({ rate, number }: AdamStep): number {
  const correction = 1 / (1 - beta1 ** number)
  // The correction of the second moment is folded into the move: m / sqrt(v c) = m / sqrt(v) / sqrt(c).
  const root = Math.sqrt(1 / (1 - beta2 ** number))
  return (rate * correction) / root
}

/** Updates `values` and `moments` in place. `unit` holds one value for each run of values.length / unit.length. */
export function adam(
  values: Float32Array,
  gradient: Float32Array,
  { first, second }: HostMoments,
  unit: Float32Array,
  step: AdamStep,
): void {
  const { gradientScale } = step
  const move = moveOf(step)
  const run = values.length / unit.length
  // Pieces hold whole runs, or a run spans several pieces; in the kernel four values share a unit, or each has its own.
  const size = run > pieceSize ? pieceSize : Math.floor(pieceSize / run) * run
  const fits = run === 1 || run % 4 === 0
  for (let start = 0; start < values.length; ) {
    const end = Math.min(
      start + size,
      values.length,
      (Math.floor(start / run) + Math.max(1, size / run)) * run,
    )
    const count = end - start
    const units = unit.subarray(Math.floor(start / run), Math.ceil(end / run))
    if (fits && count % 4 === 0) {
      inKernel.values.set(values.subarray(start, end))
      inKernel.gradient.set(gradient.subarray(start, end))
      inKernel.first.set(first.subarray(start, end))
      inKernel.second.set(second.subarray(start, end))
      inKernel.unit.set(units)
      const [own, vectors] = run === 1 ? [1, 1] : [0, Math.min(run, count) / 4]
      kernel.adam(count / (4 * vectors), vectors, own, gradientScale, move)
      values.set(inKernel.values.subarray(0, count), start)
      first.set(inKernel.first.subarray(0, count), start)
      second.set(inKernel.second.subarray(0, count), start)
    } else {
      for (let i = start; i < end; i++) {
        const u = unit[Math.floor(i / run)]
        const g = gradient[i] * gradientScale * u
        const m = beta1 * first[i] + (1 - beta1) * g
        const v = beta2 * second[i] + (1 - beta2) * g * g
        first[i] = m
        second[i] = v
        values[i] -= (move * u * m) / (Math.sqrt(v) + epsilon)
      }
    }
    start = end
  }
}
