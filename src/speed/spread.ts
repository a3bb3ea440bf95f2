/** Summary of repeated measurements: one value and its spread. */

export interface Spread {
  readonly median: number
  /** Minimum and maximum. */
  readonly low: number
  readonly high: number
  /** In the order of measurement. */
  readonly samples: readonly number[]
}

/** @param samples at least one */
export function spreadOf(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  return { median, low: sorted[0], high: sorted[sorted.length - 1], samples }
}
