/**
 * Quantiles of the divergence of tokens in bounded memory, and their errors.
 *
 * Up to 65,536 values are kept, and quantiles are exact. Beyond that, values are counted in bins of equal width in log2, 1024
 * per octave, so that a quantile is accurate to 0.07 % of its value; values below 2^-64 count as 0. In addition, every block
 * of adjacent windows (at most 64 blocks) has counts in coarse bins, 16 per octave: the bootstrap draws blocks with
 * replacement and reads the quantiles off the sums. A delta method for quantiles would need the density.
 */
import { Random } from '../random.js'
import { quantile } from './statistics.js'

const exactValues = 65_536
const lowest = -64
const octaves = 80
const finePerOctave = 1024
const coarsePerOctave = 16
const mostBlocks = 64
const replicates = 200

/** Bin 0 holds 0 and values too small to matter. */
function binOf(value: number, perOctave: number): number {
  if (!(value > 2 ** lowest)) return 0
  return Math.min(octaves * perOctave, 1 + Math.floor((Math.log2(value) - lowest) * perOctave))
}

/** The middle of a bin, or another fraction of it. */
function valueIn(bin: number, perOctave: number, within = 0.5): number {
  return bin === 0 ? 0 : 2 ** (lowest + (bin - 1 + within) / perOctave)
}

export class Distribution {
  private values: Float32Array | undefined = new Float32Array(1024)
  private count = 0
  private fine: Float64Array | undefined
  private readonly blocks: Uint32Array[]
  private min = Number.POSITIVE_INFINITY
  private max = Number.NEGATIVE_INFINITY

  /** @param windows number of windows that will be measured */
  constructor(private readonly windows: number) {
    const blocks = Math.min(windows, mostBlocks)
    this.blocks = Array.from({ length: blocks }, () => new Uint32Array(octaves * coarsePerOctave + 1))
  }

  /** Adds a token's value, which is not negative. */
  add(window: number, value: number): void {
    this.min = Math.min(this.min, value)
    this.max = Math.max(this.max, value)
    this.blocks[Math.floor((window * this.blocks.length) / this.windows)][binOf(value, coarsePerOctave)]++
    if (this.values && this.count === exactValues) this.spill()
    if (this.values) {
      if (this.count === this.values.length) {
        const larger = new Float32Array(2 * this.values.length)
        larger.set(this.values)
        this.values = larger
      }
      this.values[this.count] = value
    } else if (this.fine) this.fine[binOf(value, finePerOctave)]++
    this.count++
  }

  /** Converts single values to counts. */
  private spill(): void {
    const fine = new Float64Array(octaves * finePerOctave + 1)
    for (const value of this.values ?? []) fine[binOf(value, finePerOctave)]++
    this.fine = fine
    this.values = undefined
  }

  range(): { min: number; max: number } {
    return { min: this.min, max: this.max }
  }

  /** @param shares ascending, 0 to 1 */
  quantiles(shares: readonly number[]): number[] {
    if (this.values) {
      const sorted = this.values.slice(0, this.count).sort()
      return shares.map((share) => quantile(sorted, share))
    }
    const clamp = (value: number): number => Math.min(this.max, Math.max(this.min, value))
    return fromCounts(this.fine ?? new Float64Array(1), undefined, this.count, shares, finePerOctave).map(
      clamp,
    )
  }

  /** Standard error and 95 % interval of each quantile, by a bootstrap over blocks of windows. */
  errors(shares: readonly number[], seed: number): { se: number; interval: readonly [number, number] }[] {
    const { blocks } = this
    const random = new Random(seed, 0xb007)
    const draws = shares.map(() => new Float64Array(replicates))
    const used = usedBins(blocks)
    const matrix = blocks.map((block) => Float64Array.from(used, (bin) => block[bin]))
    const counts = new Float64Array(used.length)
    for (let b = 0; b < replicates; b++) {
      counts.fill(0)
      let total = 0
      for (let i = 0; i < blocks.length; i++) {
        const block = matrix[random.int(blocks.length)]
        for (let u = 0; u < counts.length; u++) {
          counts[u] += block[u]
          total += block[u]
        }
      }
      const quantiles = fromCounts(counts, used, total, shares, coarsePerOctave)
      for (const [i, value] of quantiles.entries()) draws[i][b] = value
    }
    return draws.map((values) => spread(values.sort(), blocks.length))
  }
}

function usedBins(blocks: readonly Uint32Array[]): number[] {
  const used: number[] = []
  for (let bin = 0; bin <= octaves * coarsePerOctave; bin++)
    if (blocks.some((block) => block[bin] > 0)) used.push(bin)
  return used
}

/** Quantiles of values counted in `bins` (default: all bins); values are assumed uniform within a bin. */
function fromCounts(
  counts: Float64Array,
  bins: readonly number[] | undefined,
  total: number,
  shares: readonly number[],
  perOctave: number,
): number[] {
  let at = 0
  let below = 0
  return shares.map((share) => {
    const rank = share * (total - 1) + 0.5
    while (at < counts.length - 1 && below + counts[at] < rank) below += counts[at++]
    const within = counts[at] > 0 ? Math.min(1, (rank - below) / counts[at]) : 0.5
    return valueIn(bins ? bins[at] : at, perOctave, within)
  })
}

/** The bootstrap of n blocks is too narrow by sqrt((n - 1) / n), which matters for small n. */
function spread(sorted: Float64Array, blocks: number): { se: number; interval: readonly [number, number] } {
  if (blocks < 2) return { se: Number.POSITIVE_INFINITY, interval: [0, Number.POSITIVE_INFINITY] }
  const widen = Math.sqrt(blocks / (blocks - 1))
  const mean = sorted.reduce((s, v) => s + v, 0) / sorted.length
  const variance = sorted.reduce((s, v) => s + (v - mean) ** 2, 0) / (sorted.length - 1)
  const middle = quantile(sorted, 0.5)
  const end = (share: number): number => Math.max(0, middle + widen * (quantile(sorted, share) - middle))
  return { se: widen * Math.sqrt(variance), interval: [end(0.025), end(0.975)] }
}
