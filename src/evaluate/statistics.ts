/**
 * Means with standard errors, and quantiles.
 *
 * Tokens of one window share their context, so they are not independent; windows nearly are. Standard errors are
 * therefore those of the mean of window means: their sample standard deviation over the square root of their number.
 * (llama-perplexity treats every token as independent, which is usually too narrow.)
 */

/** A mean and its standard error. */
export interface Estimate {
  readonly mean: number
  readonly se: number
}

/** Mean and standard error of numbers that are independent; of one number the error is not known, and Infinity. */
export function estimate(values: readonly number[]): Estimate {
  const n = values.length
  const mean = sum(values) / n
  if (n < 2) return { mean, se: Number.POSITIVE_INFINITY }
  const variance = values.reduce((total, value) => total + (value - mean) ** 2, 0) / (n - 1)
  return { mean, se: Math.sqrt(variance / n) }
}

/** exp of an estimate, its error by the first derivative. */
export function exponential({ mean, se }: Estimate): Estimate {
  return { mean: Math.exp(mean), se: Math.exp(mean) * se }
}

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** The value below which a share of `sorted` (ascending, not empty) lies, linear between neighbours. */
export function quantile(sorted: Float32Array, share: number): number {
  const at = share * (sorted.length - 1)
  const below = Math.floor(at)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below] + (at - below) * (sorted[above] - sorted[below])
}
