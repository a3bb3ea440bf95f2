/**
 * The error of a group of weights on a grid, sum of h (w - s q - o)^2 with q the nearest level and h the weight's importance, and the
 * scale s and offset o that minimize it as real numbers. Many scales are tried, each by the error with the least-squares scale of its
 * codes, as in make_qx_quants and make_qkx2_quants of ggml-quants.c; then codes and least squares take turns. Nearly all of the time is
 * spent on errors, which are a kernel (fit.wat).
 */
import type { GridLayout } from '../../formats/format.js'
import { type Levels, nearest } from '../../formats/levels.js'
import { inFit, kernel } from './fit.js'
import { Start } from './fit-start.js'

/** The optimum of a single group, and the curvatures of its error there. */
export interface Fit {
  scale: number
  offset: number
  /** Of the error in the scale at a fixed offset. */
  scaleCurvature: number
  /** Of the error in the offset, with the best scale for each. */
  offsetCurvature: number
}

/** Minimum and maximum number of initial scales. */
const [fewestStarts, mostStarts] = [12, 48]
/** A negligible importance, as a share of its group's mean. */
const negligible = 1e-3
/** Most rounds of least squares; few groups need as many. */
const mostFits = 12

/** The weights of a unit. They are in the memory of this thread's kernel, so only one can be searched at a time, from `load` on. */
export class GroupFit {
  /** The weights of all groups, and their importances: above 0. */
  readonly w: Float64Array
  readonly h: Float64Array
  // Sums over the weights of a group, set by `fit`: of h q^2, h q, and h q (w - o).
  qq = 0
  q1 = 0
  qx = 0
  /** Sums of h and h w by group. */
  readonly h1: Float64Array
  readonly w1: Float64Array
  /** The table of levels as the kernel takes it; absent where they are all integers. */
  private readonly table: Float64Array | undefined
  private readonly steps: number
  private readonly symmetric: boolean
  private readonly reach: number

  constructor(
    private readonly layout: GridLayout,
    readonly groups: number,
  ) {
    const { groupSize, levels } = layout
    if (groups * groupSize > inFit.w.length)
      throw new RangeError(`a unit of ${groups * groupSize} weights is too large`)
    this.w = inFit.w.subarray(0, groups * groupSize)
    this.h = inFit.h.subarray(0, groups * groupSize)
    this.h1 = new Float64Array(groups)
    this.w1 = new Float64Array(groups)
    this.table = levels.table && positions(levels)
    this.steps = levels.table ? levels.table.middles.length : levels.hi - levels.lo
    this.reach = reachOf(levels)
    const values = levels.table?.values ?? [levels.lo, levels.hi]
    this.symmetric = values.every((value) => values.includes(-value))
  }

  /** Prepares for new values of `w` and `h`. */
  load(): void {
    const { groupSize } = this.layout
    if (this.table) inFit.table.set(this.table)
    for (let g = 0; g < this.groups; g++) {
      let h1 = 0
      let w1 = 0
      for (let i = g * groupSize; i < (g + 1) * groupSize; i++) {
        h1 += this.h[i]
        w1 += this.h[i] * this.w[i]
      }
      this.h1[g] = h1
      this.w1[g] = w1
    }
  }

  /** The error of a group with the nearest codes; sets the sums that least squares need. */
  fit(g: number, scale: number, offset: number): number {
    const { scales, offsets } = inFit
    scales[0] = scales[1] = scale
    offsets[0] = offsets[1] = offset
    this.fitAll(g, 2)
    this.use(0)
    return inFit.errors[0]
  }

  /** The same for the first `count` scales and offsets of the kernel, which writes errors and sums for each. */
  private fitAll(g: number, count: number): void {
    const { groupSize, levels } = this.layout
    const last = this.table ? this.table.length - 1 : -1
    kernel.fit(count + (count % 2), g * groupSize, (g + 1) * groupSize, levels.lo, levels.hi, last)
  }

  /** Takes the sums for one of several scales. */
  private use(index: number): void {
    this.qq = inFit.qq[index]
    this.q1 = inFit.q1[index]
    this.qx = inFit.qx[index]
  }

  /** The best scale and offset of a group by itself; one of `listed` scales where these are given. */
  best(g: number, signed: boolean, listed?: Float32Array): Fit {
    if (this.layout.offset) return this.fitBoth(g)
    const { scales, offsets, errors, qq, qx } = inFit
    let count = this.scalesToTry(g)
    if (listed) return this.bestListed(g, scales[0], scales[count - 1], listed)
    if (signed && !this.symmetric) {
      for (let i = 0; i < count; i++) scales[count + i] = -scales[i]
      count *= 2
    }
    offsets.fill(0, 0, count + 1)
    this.fitAll(g, count)
    let best = Number.POSITIVE_INFINITY
    let start = 0
    for (let i = 0; i < count; i++) {
      // The error with the least-squares scale of these codes.
      const least = qq[i] > 0 ? errors[i] - (qx[i] - scales[i] * qq[i]) ** 2 / qq[i] : errors[i]
      if (least < best) {
        best = least
        start = scales[i]
      }
    }
    return this.settle(g, start, 0)
  }

  private bestListed(g: number, from: number, to: number, values: Float32Array): Fit {
    const first = Math.max(0, indexOf(values, from) - 1)
    const last = Math.min(values.length - 1, indexOf(values, to) + 1)
    const tried = values.subarray(first, last + 1)
    inFit.scales.set(tried)
    inFit.offsets.fill(0, 0, tried.length + 1)
    this.fitAll(g, tried.length)
    let [best, scale] = [Number.POSITIVE_INFINITY, 0]
    for (const [i, value] of tried.entries()) {
      if (inFit.errors[i] < best) {
        best = inFit.errors[i]
        scale = value
      }
    }
    return { scale, offset: 0, scaleCurvature: 1, offsetCurvature: 1 }
  }

  /** Scale and offset together. */
  private fitBoth(g: number): Fit {
    const { groupSize, levels } = this.layout
    let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    const least = this.leastImportance(g)
    for (let i = g * groupSize; i < (g + 1) * groupSize; i++) {
      if (this.h[i] < least) continue
      min = Math.min(min, this.w[i])
      max = Math.max(max, this.w[i])
    }
    const middle = (levels.lo + levels.hi) / 2
    if (!(max > min))
      return { scale: 0, offset: this.w1[g] / this.h1[g], scaleCurvature: 1, offsetCurvature: this.h1[g] }
    const range = (max - min) / (levels.hi - levels.lo)
    const low = Math.max(0.5, 1 - 8 / this.steps)
    const starts = geometric(low, 1.1, 16).flatMap((share) =>
      [(min + max) / 2, this.w1[g] / this.h1[g]].map((centre) => new Start(share * range, centre, middle)),
    )
    for (let round = 0, left = starts; round < 3 && left.length > 0; round++) {
      for (const [i, { s, o }] of left.entries()) {
        inFit.scales[i] = s
        inFit.offsets[i] = o
      }
      this.fitAll(g, left.length)
      left = left.filter((start, i) => {
        this.use(i)
        return start.take(inFit.errors[i]) && start.goTo(this.solveBoth(g, start.o))
      })
    }
    const best = starts.reduce((least, start) => (start.error < least.error ? start : least))
    return this.settleBoth(g, best.scale, best.offset)
  }

  /** Least-squares scale and offset for the codes of the last `fit`, which was at `offset`. */
  private solveBoth(g: number, offset: number): [number, number] | undefined {
    const [qq, q1, h1, w1] = [this.qq, this.q1, this.h1[g], this.w1[g]]
    const qw = this.qx + offset * q1
    const determinant = qq * h1 - q1 * q1
    if (!(determinant > 1e-12 * qq * h1)) return undefined
    const s = (h1 * qw - q1 * w1) / determinant
    return [s, (w1 - s * q1) / h1]
  }

  private settleBoth(g: number, scale: number, offset: number): Fit {
    let [s, o] = [scale, offset]
    let error = this.fit(g, s, o)
    for (let round = 0; round < mostFits; round++) {
      const both = this.solveBoth(g, o)
      if (!both) break
      const next = this.fit(g, ...both)
      if (!(next < error)) break
      error = next
      ;[s, o] = both
    }
    this.fit(g, s, o)
    return {
      scale: s,
      offset: o,
      scaleCurvature: this.qq,
      offsetCurvature: this.qq > 0 ? this.h1[g] - (this.q1 * this.q1) / this.qq : this.h1[g],
    }
  }

  /** The best scale near one, at a fixed offset: codes and least squares in turns. */
  settle(g: number, scale: number, offset: number): Fit {
    let s = scale
    let error = this.fit(g, s, offset)
    for (let round = 0; round < mostFits && this.qq > 0; round++) {
      const next = this.qx / this.qq
      const own = this.fit(g, next, offset)
      if (!(own < error)) break
      error = own
      s = next
    }
    this.fit(g, s, offset)
    return { scale: s, offset, scaleCurvature: this.qq, offsetCurvature: this.h1[g] }
  }

  /**
   * Writes positive scales to try to the kernel, ascending: from one that clips all weights above the mean magnitude to one that clips
   * none. @returns their number
   */
  private scalesToTry(g: number): number {
    const { groupSize, levels } = this.layout
    const least = this.leastImportance(g)
    let [most, sum] = [0, 0]
    for (let i = g * groupSize; i < (g + 1) * groupSize; i++) {
      if (this.h[i] < least) continue
      const size = Math.abs(this.w[i])
      sum += size
      if (size > most) most = size
    }
    if (most === 0) {
      inFit.scales[0] = 0
      return 1
    }
    const longer = Math.max(-levels.lo, levels.hi)
    const shorter = this.reach
    const low = Math.max(sum / groupSize, (1 - 8 / this.steps) * most) / longer
    const high = (1.1 * most) / shorter
    const starts = Math.ceil(Math.log(high / low) / Math.log1p(1 / (2 * this.steps)))
    const count = Math.min(mostStarts, Math.max(fewestStarts, starts))
    const { scales } = inFit
    const ratio = (high / low) ** (1 / (count - 1))
    for (let i = 0, s = low; i < count; i++, s *= ratio) scales[i] = s
    return count
  }

  /** The importance below which a weight does not say which scales are worth a try. */
  private leastImportance(g: number): number {
    return (negligible * this.h1[g]) / this.layout.groupSize
  }
}

/**
 * The magnitude of a level to which the largest weight may be rounded: the lesser end of the range. Where the last gaps of a table are
 * wide it is better rounded to the last level but one, as 4 instead of 6 of E2M1 (arXiv 2512.02010).
 */
function reachOf({ lo, hi, table }: Levels): number {
  const ends = table ? [-table.values[1], table.values[table.values.length - 2]] : [-lo, hi]
  return Math.min(...ends.filter((end) => end > 0), Math.max(-lo, hi))
}

/** Every half step from the least level to the greatest, as the level nearest to it: middles of levels lie on such steps. */
function positions(levels: Levels): Float64Array {
  const { lo, hi } = levels
  return Float64Array.from({ length: 2 * (hi - lo) + 1 }, (_, k) => nearest(levels, lo + k / 2))
}

/** The index of the first of ascending numbers that is not less than `x`. */
function indexOf(values: Float32Array, x: number): number {
  let [first, last] = [0, values.length - 1]
  while (first < last) {
    const i = (first + last) >> 1
    if (values[i] < x) first = i + 1
    else last = i
  }
  return first
}

/** Numbers from `low` to `high` with a constant ratio. */
export function geometric(low: number, high: number, count: number): number[] {
  const ratio = (high / low) ** (1 / (count - 1))
  const numbers = [low]
  for (let i = 1; i < count; i++) numbers.push(numbers[i - 1] * ratio)
  return numbers
}
