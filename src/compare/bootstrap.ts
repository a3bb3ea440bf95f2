/**
 * The bootstrap over windows: how much the metrics would vary if other windows of the same kind of text had been measured.
 *
 * Tokens of a window are not independent, windows nearly are. Whole windows are therefore drawn with replacement, the same
 * ones for all files (paired), so that the difficulty of a window for every file cancels in comparisons. More than 256 windows
 * are first merged into 256 blocks of adjacent windows, which costs no precision and accounts for correlation between
 * neighbours.
 *
 * Intervals and tests of means are studentized ("bootstrap-t", Efron and Tibshirani 1993, 12.5 and 16.4): valid for skewed
 * losses too, and p-values cannot be small with few windows. Intervals of metrics without a simple standard error are
 * quantiles of the replicates, widened about the estimate by t / z and sqrt(n / (n - 1)), without which they are too narrow
 * for few windows (Hesterberg, arXiv 1411.5279).
 */
import { setImmediate } from 'node:timers/promises'
import { quantile, studentT, studentTail } from '../evaluate/statistics.js'
import { Random } from '../random.js'

const mostBlocks = 256
const z = 1.959964
/** Replicates needed to estimate a tail probability by counting. */
const tail = 25
/** With fewer windows, too many replicates draw one window alone and have no standard error. */
const leastStudentized = 6
/** Lower bound of p-values. */
const leastP = 1e-12

export type Interval = readonly [low: number, high: number]

export interface BootstrapOptions {
  readonly seed?: number
  /** Default 9,999. */
  readonly replicates?: number
}

export class Bootstrap {
  /** How often each block occurs in each replicate (replicates, blocks). */
  private readonly counts: Uint16Array
  private readonly tokens: Float64Array
  readonly replicates: number

  /** @param windowTokens scored tokens of each window */
  constructor(
    private readonly windowTokens: readonly number[],
    { seed = 1, replicates = 9999 }: BootstrapOptions = {},
  ) {
    this.replicates = replicates
    this.tokens = this.blocksOf(windowTokens)
    const blocks = this.tokens.length
    const random = new Random(seed, 0xb0075)
    this.counts = new Uint16Array(replicates * blocks)
    for (let at = 0; at < this.counts.length; at += blocks)
      for (let i = 0; i < blocks; i++) this.counts[at + random.int(blocks)]++
  }

  get blocks(): number {
    return this.tokens.length
  }

  /** Sums windows into blocks. */
  private blocksOf(sums: readonly number[]): Float64Array {
    const n = sums.length
    const blocks = new Float64Array(Math.min(n, mostBlocks))
    for (let w = 0; w < n; w++) blocks[Math.floor((w * blocks.length) / n)] += sums[w]
    return blocks
  }

  /** The mean per token in each replicate. @param sums over the tokens of each window */
  means(sums: readonly number[]): Float64Array {
    this.check(sums)
    const values = this.blocksOf(sums)
    const { counts, tokens, blocks } = this
    return Float64Array.from({ length: this.replicates }, (_, r) => {
      let total = 0
      let weight = 0
      for (let i = 0, at = r * blocks; i < blocks; i++) {
        total += counts[at + i] * values[i]
        weight += counts[at + i] * tokens[i]
      }
      return total / weight
    })
  }

  /**
   * 95 % interval of the mean per token: studentized, or Student's t for fewer than 6 windows. If no sum is negative, the lower end is at
   * least 0.
   * @param sums over the tokens of each window
   */
  meanInterval(sums: readonly number[]): Interval {
    this.check(sums)
    const values = this.blocksOf(sums)
    const { counts, tokens, blocks: n, replicates } = this
    if (n < 2) return [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
    const { mean, se } = ratioWithError(values, tokens, undefined, 0)
    if (se === 0) return [mean, mean]
    const least = sums.every((sum) => sum >= 0) ? 0 : Number.NEGATIVE_INFINITY
    if (n < leastStudentized) {
      const reach = studentT(n - 1) * se
      return [Math.max(least, mean - reach), mean + reach]
    }
    const t = new Float64Array(replicates)
    for (let r = 0; r < replicates; r++) {
      const drawn = ratioWithError(values, tokens, counts, r * n)
      const distance = drawn.mean - mean
      t[r] = distance === 0 ? 0 : distance / drawn.se
    }
    t.sort()
    return [Math.max(least, mean - quantile(t, 0.975) * se), mean - quantile(t, 0.025) * se]
  }

  /** 95 % interval of any estimate from its replicates. */
  interval(estimate: number, replicates: Float64Array): Interval {
    const n = this.blocks
    if (n < 2) return [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
    const sorted = replicates.slice().sort()
    const widen = Math.sqrt(n / (n - 1)) * (studentT(n - 1) / z)
    const end = (share: number): number => estimate + widen * (quantile(sorted, share) - estimate)
    return [end(0.025), end(0.975)]
  }

  /**
   * Two-sided p-value of the hypothesis that two files have the same loss per token, by the studentized paired bootstrap: the
   * share of replicates whose t statistic, of the differences around their mean, is at least as large as the one measured. If
   * there are fewer than `tail` of them, counting is too coarse: beyond the `tail`th largest, the share falls as Student's t
   * does. So p can be less than 1 / replicates, which many pairs need after correction. At least 2^(1-n) for n windows: n
   * tosses of a coin cannot show more. 1 for equal files.
   */
  pValue(a: readonly number[], b: readonly number[]): number {
    this.check(a)
    this.check(b)
    const difference = this.blocksOf(a.map((value, w) => value - b[w]))
    if (difference.every((d) => d === 0)) return 1
    const { counts, tokens, blocks: n, replicates } = this
    const measured = ratioWithError(difference, tokens, undefined, 0)
    const t = Math.abs(measured.mean) / measured.se
    const drawn = new Float64Array(replicates)
    let asLarge = 0
    for (let r = 0; r < replicates; r++) {
      const { mean, se } = ratioWithError(difference, tokens, counts, r * n)
      const distance = Math.abs(mean - measured.mean)
      // Also if se is 0: such a replicate has no information.
      drawn[r] = distance >= t * se ? Number.POSITIVE_INFINITY : distance / se
      if (distance >= t * se) asLarge++
    }
    let p = (asLarge + 1) / (replicates + 1)
    if (asLarge < tail && tail < replicates) {
      const from = drawn.sort()[replicates - tail]
      p = ((tail + 1) / (replicates + 1)) * (studentTail(t, n - 1) / studentTail(from, n - 1))
    }
    return Math.min(1, Math.max(p, 2 ** (1 - this.windowTokens.length), leastP))
  }

  private check(sums: readonly number[]): void {
    if (sums.length !== this.windowTokens.length)
      throw new RangeError(`${sums.length} windows, not ${this.windowTokens.length}`)
  }
}

/** sum(values) / sum(tokens) and its standard error over blocks, each weighted by its entry in `counts`. */
function ratioWithError(
  values: Float64Array,
  tokens: Float64Array,
  counts: Uint16Array | undefined,
  at: number,
): { mean: number; se: number } {
  const n = values.length
  let total = 0
  let weight = 0
  let squares = 0
  let products = 0
  let weights = 0
  for (let i = 0; i < n; i++) {
    const c = counts ? counts[at + i] : 1
    const [v, t] = [values[i], tokens[i]]
    total += c * v
    weight += c * t
    squares += c * v * v
    products += c * v * t
    weights += c * t * t
  }
  const mean = total / weight
  const variance = Math.max(0, squares - 2 * mean * products + mean * mean * weights)
  return { mean, se: Math.sqrt((variance * n) / Math.max(1, n - 1)) / weight }
}

/**
 * Corrects the p-values of several tests made together, so that the probability of any false alarm among them is as stated
 * (Holm 1979, Scandinavian Journal of Statistics 6).
 */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, i) => i).sort((a, b) => pValues[a] - pValues[b])
  const adjusted = new Array<number>(pValues.length)
  let largest = 0
  for (const [rank, i] of order.entries()) {
    largest = Math.max(largest, Math.min(1, (pValues.length - rank) * pValues[i]))
    adjusted[i] = largest
  }
  return adjusted
}

/** Corrected p-values of all pairs of files; yields to the event loop between pairs. */
export async function allPairs(
  bootstrap: Bootstrap,
  sums: readonly (readonly number[])[],
): Promise<{ a: number; b: number; p: number; adjusted: number }[]> {
  const pairs: { a: number; b: number; p: number }[] = []
  for (let a = 0; a < sums.length; a++)
    for (let b = a + 1; b < sums.length; b++) {
      pairs.push({ a, b, p: bootstrap.pValue(sums[a], sums[b]) })
      await setImmediate()
    }
  const adjusted = holm(pairs.map(({ p }) => p))
  return pairs.map((pair, i) => ({ ...pair, adjusted: adjusted[i] }))
}
