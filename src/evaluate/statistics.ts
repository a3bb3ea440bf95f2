/**
 * Means with standard errors and 95 % intervals.
 *
 * Tokens of one window share their context, so they are not independent; windows nearly are. Everything is therefore
 * a ratio of sums over windows, e.g. nats / tokens, whose standard error comes from the windows' residuals (the delta
 * method; for windows of equal length the standard deviation of window means over the square root of their number).
 * (llama-perplexity treats every token as independent, which is usually too narrow.) Intervals use Student's t with
 * windows - 1 degrees of freedom.
 */

/** A mean and its standard error; Infinity where one window alone was measured. */
export interface Estimate {
  readonly mean: number
  readonly se: number
  /** 95 % interval, where it is known. */
  readonly interval?: readonly [low: number, high: number]
}

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** Mean, error and interval of numbers that are independent. */
export function estimate(values: readonly number[]): Estimate {
  return ratio(values, new Array<number>(values.length).fill(1))
}

/** sum(values) / sum(counts) over windows, with its error and interval. */
export function ratio(values: readonly number[], counts: readonly number[]): Estimate {
  const n = values.length
  const total = sum(counts)
  const mean = sum(values) / total
  if (n < 2) return withInterval(mean, Number.POSITIVE_INFINITY, n)
  const squares = values.reduce((s, value, i) => s + (value - mean * counts[i]) ** 2, 0)
  return withInterval(mean, Math.sqrt((squares * n) / (n - 1)) / total, n)
}

function withInterval(mean: number, se: number, n: number): Estimate {
  const half = se === 0 ? 0 : studentT(n - 1) * se
  return { mean, se, interval: [mean - half, mean + half] }
}

/** f of an estimate, for an increasing f: the error by the first derivative, the interval by its ends. */
function transformed(of: Estimate, f: (x: number) => number, slope: number): Estimate {
  const se = of.se === 0 ? 0 : Math.abs(slope) * of.se
  return { mean: f(of.mean), se, ...(of.interval && { interval: [f(of.interval[0]), f(of.interval[1])] }) }
}

/** exp of an estimate. */
export function exponential(of: Estimate): Estimate {
  return transformed(of, Math.exp, Math.exp(of.mean))
}

/** Root of an estimate that is not negative, e.g. of a mean square. */
export function root(of: Estimate): Estimate {
  return transformed(of, (x) => Math.sqrt(Math.max(0, x)), of.mean > 0 ? 0.5 / Math.sqrt(of.mean) : 0)
}

/**
 * The 97.5 % point of Student's t: a table for up to 3 degrees of freedom, then the Cornish-Fisher expansion about the
 * normal point (Abramowitz and Stegun 26.7.5), which is right to 0.002 from 4 on.
 */
export function studentT(degrees: number): number {
  if (degrees < 1) return Number.POSITIVE_INFINITY
  if (degrees <= 3) return [12.706, 4.303, 3.182][degrees - 1]
  const z = 1.959964
  const n = degrees
  return (
    z +
    (z ** 3 + z) / (4 * n) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * n ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * n ** 3) +
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / (92160 * n ** 4)
  )
}

/** 95 % interval of a share of `n` independent trials (Wilson): right for shares near 0 and 1 and for small n. */
export function wilson(successes: number, n: number): readonly [number, number] {
  if (n === 0) return [0, 1]
  const z2 = 1.95996398454 ** 2
  const share = successes / n
  const middle = share + z2 / (2 * n)
  const half = Math.sqrt((z2 * (share * (1 - share) + z2 / (4 * n))) / n)
  return [Math.max(0, (middle - half) / (1 + z2 / n)), Math.min(1, (middle + half) / (1 + z2 / n))]
}

/** The value below which a share of `sorted` (ascending, not empty) lies, linear between neighbours. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1)
  const below = Math.floor(at)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below] + (at - below) * (sorted[above] - sorted[below])
}
