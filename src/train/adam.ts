/**
 * Adam (arXiv 1412.6980) with f32 moments, bias correction and rates in the natural units of the values: with u the
 * unit of a value, the step is taken on value / u, so the gradient is multiplied by u and the move too.
 *
 * One pass over memory in plain JavaScript. The same as graph ops takes some fifteen passes: 4 times as long on two
 * cores for matrices that do not fit in a cache.
 */

export interface Moments {
  readonly first: Float32Array
  readonly second: Float32Array
}

export interface AdamStep {
  readonly rate: number
  /** What multiplies the gradient, for averaging and clipping. */
  readonly gradientScale: number
  /** 1 for the first step. */
  readonly number: number
}

const beta1 = 0.9
const beta2 = 0.95
/** Gradients of a loss per token with respect to quantization steps are small; this is far below them. */
const epsilon = 1e-15

/** Updates `values` and `moments` in place. `unit` holds one value for each run of values.length / unit.length. */
export function adam(
  values: Float32Array,
  gradient: Float32Array,
  { first, second }: Moments,
  unit: Float32Array,
  { rate, gradientScale, number }: AdamStep,
): void {
  const correction = 1 / (1 - beta1 ** number)
  // The correction of the second moment is folded into the move: m / sqrt(v c) = m / sqrt(v) / sqrt(c).
  const root = Math.sqrt(1 / (1 - beta2 ** number))
  const run = values.length / unit.length
  for (let u = 0, i = 0; u < unit.length; u++) {
    const scale = gradientScale * unit[u]
    const move = (rate * correction * unit[u]) / root
    for (const end = i + run; i < end; i++) {
      const g = gradient[i] * scale
      const m = beta1 * first[i] + (1 - beta1) * g
      const v = beta2 * second[i] + (1 - beta2) * g * g
      first[i] = m
      second[i] = v
      values[i] -= (move * m) / (Math.sqrt(v) + epsilon)
    }
  }
}
