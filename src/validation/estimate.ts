/** A mean with its standard error, in nats per token. */
export interface MeanError {
  readonly mean: number
  readonly se: number
}

/** The mean of equally large samples, and its standard error, from their means. */
export function meanError(means: readonly number[]): MeanError {
  const mean = means.reduce((a, b) => a + b, 0) / means.length
  const squares = means.reduce((s, m) => s + (m - mean) ** 2, 0)
  return { mean, se: means.length > 1 ? Math.sqrt(squares / (means.length - 1) / means.length) : Number.NaN }
}
