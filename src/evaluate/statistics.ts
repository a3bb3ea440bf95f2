/**
 * Means with standard errors and 95 % intervals.
 *
 * Tokens of one window share their context, so they are not independent; windows nearly are. Every metric is therefore a ratio
 * of sums over windows, e.g. nats / tokens, whose standard error comes from the windows' residuals (the delta method; for
 * windows of equal length the standard deviation of window means over the square root of their number). (llama-perplexity
 * treats every token as independent, which usually gives too small an error.) Intervals use Student's t with windows - 1
 * degrees of freedom.
 */

/** A mean and its standard error; Infinity for a single window. */
export interface Estimate {
  readonly mean: number
  readonly se: number
  /** 95 % interval, if known. */
  readonly interval?: readonly [low: number, high: number]
}

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** Mean, error and interval of independent numbers. */
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

/** Square root of an estimate that is not negative, e.g. of a mean square. */
export function root(of: Estimate): Estimate {
  return transformed(of, (x) => Math.sqrt(Math.max(0, x)), of.mean > 0 ? 0.5 / Math.sqrt(of.mean) : 0)
}

/**
 * Two-sided tail probability of Student's t beyond `t`, by the finite series for integer degrees of freedom (Abramowitz and
 * Stegun 26.7.3 and 26.7.4), exact to 1e-14.
 */
export function studentTail(t: number, degrees: number): number {
  if (!Number.isFinite(t)) return 0
  const angle = Math.atan(Math.abs(t) / Math.sqrt(degrees))
  const [sine, cosine] = [Math.sin(angle), Math.cos(angle)]
  const odd = degrees % 2 === 1
  let term = odd ? cosine : 1
  let series = degrees === 1 ? 0 : term
  for (let power = odd ? 3 : 2; power <= degrees - 2; power += 2) {
    term *= (cosine * cosine * (power - 1)) / power
    series += term
  }
  const within = odd ? (2 / Math.PI) * (angle + sine * series) : sine * series
  return Math.max(0, 1 - within)
}

const normalPoint = 1.959964

/** The 97.5 % point of Student's t: from the exact tail up to 30 degrees of freedom, then an expansion. */
export function studentT(degrees: number): number {
  if (degrees < 1) return Number.POSITIVE_INFINITY
  if (degrees > 30) return cornishFisher(degrees)
  let [low, high] = [normalPoint, 13]
  while (high - low > 1e-9) {
    const middle = (low + high) / 2
    if (studentTail(middle, degrees) > 0.05) low = middle
    else high = middle
  }
  return high
}

/** Expansion about the normal quantile (Abramowitz and Stegun 26.7.5), accurate to 1e-7 from 30 degrees of freedom on. */
function cornishFisher(n: number): number {
  const z = normalPoint
  return (
    z +
    (z ** 3 + z) / (4 * n) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * n ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * n ** 3) +
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / (92160 * n ** 4)
  )
}

/** 95 % interval of a share of `n` independent trials (Wilson): accurate for shares near 0 and 1 and for small n. */
export function wilson(successes: number, n: number): readonly [number, number] {
  if (n === 0) return [0, 1]
  const z2 = 1.95996398454 ** 2
  const share = successes / n
  const middle = share + z2 / (2 * n)
  const half = Math.sqrt((z2 * (share * (1 - share) + z2 / (4 * n))) / n)
  return [Math.max(0, (middle - half) / (1 + z2 / n)), Math.min(1, (middle + half) / (1 + z2 / n))]
}

/** The quantile of `sorted` (ascending, not empty) at `share`, linear between neighbours, which may be infinite. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1)
  const [below, above] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]]
  return below === above ? below : below + (at % 1) * (above - below)
}
