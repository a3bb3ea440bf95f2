/**
 * The scale and offset of a group of weights that minimize its error (group-sums.ts) as real numbers. Many scales are tried, each by the
 * error with the least-squares scale of its codes, as in make_qx_quants and make_qkx2_quants of ggml-quants.c; then codes and least
 * squares take turns.
 */
import type { GridLayout } from '../../formats/format.js'
import type { Levels } from '../../formats/levels.js'
import { inFit } from './fit.js'
import { GroupSums } from './group-sums.js'

/** The optimum of a single group, and the curvatures of its error there. */
export interface Fit {
  scale: number
  offset: number
  /** Of the error in the scale at a fixed offset. */
  scaleCurvature: number
  /** Of the error in the offset, with the best scale for each. */
  offsetCurvature: number
}

/** Minimum and maximum number of initial scales; their number where an offset is fitted too, each with two offsets. */
const [fewestStarts, mostStarts, startsOfBoth] = [12, 48, 16]
/** Most rounds of least squares; few groups need as many. And those from each of many scales and offsets. */
const [mostFits, fitsOfStart] = [12, 3]

export class GroupFit extends GroupSums {
  private readonly symmetric: boolean
  private readonly reach: number
  private readonly longer: number
  private readonly middle: number
  /** The least scale to try clips weights by this share of the greatest, at most. */
  private readonly clipped: number
  /** Logarithm of the ratio of scales to try. */
  private readonly ratio: number
  /** Scales to try where an offset is fitted too, relative to that which clips none. */
  private readonly shares: readonly number[]

  constructor(layout: GridLayout, groups: number) {
    super(layout, groups)
    const { levels } = layout
    const { lo, hi, table } = levels
    const steps = table ? table.middles.length : hi - lo
    const values = table?.values ?? [lo, hi]
    this.symmetric = values.every((value) => values.includes(-value))
    this.reach = reachOf(levels)
    this.longer = Math.max(-lo, hi)
    this.middle = (lo + hi) / 2
    this.clipped = 1 - 8 / steps
    this.ratio = Math.log1p(1 / (2 * steps))
    this.shares = geometric(Math.max(0.5, this.clipped), 1.1, startsOfBoth)
  }

  /** The best scale and offset of a group by itself; one of `listed` scales where these are given. */
  best(g: number, signed: boolean, listed?: Float32Array): Fit {
    if (this.layout.offset) return this.fitBoth(g)
    const { scales } = inFit
    let count = this.scalesToTry(g)
    const low = scales[0]
    if (listed) {
      const scale = this.bestListed(g, low, scales[count - 1], listed)
      return { scale, offset: 0, scaleCurvature: 1, offsetCurvature: 1 }
    }
    if (signed && !this.symmetric) {
      for (let i = 0; i < count; i++) scales[count + i] = -scales[i]
      count *= 2
    }
    return this.settle(g, this.leastOf(g, count, low, true), 0)
  }

  private bestListed(g: number, from: number, to: number, values: Float32Array): number {
    const first = Math.max(0, indexOf(values, from) - 1)
    const last = Math.min(values.length - 1, indexOf(values, to) + 1)
    for (let i = first; i <= last; i++) inFit.scales[i - first] = values[i]
    return this.leastOf(g, last + 1 - first, from, false)
  }

  /** Scale and offset together. */
  private fitBoth(g: number): Fit {
    const { scales, offsets, best } = inFit
    const { levels } = this.layout
    const [min, max] = [inFit.least[g], inFit.greatest[g]]
    const mean = this.w1[g] / this.h1[g]
    if (!(max > min)) return { scale: 0, offset: mean, scaleCurvature: 1, offsetCurvature: this.h1[g] }
    const range = (max - min) / (levels.hi - levels.lo)
    const count = 2 * startsOfBoth
    for (let i = 0; i < count; i++) {
      scales[i] = this.shares[i >> 1] * range
      offsets[i] = (i % 2 === 0 ? (min + max) / 2 : mean) - scales[i] * this.middle
    }
    this.fitEach(g, count, fitsOfStart)
    let start = 0
    for (let i = 1; i < count; i++) if (best.errors[i] < best.errors[start]) start = i
    return this.settleBoth(g, best.scales[start], best.offsets[start])
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
    const { scales } = inFit
    const most = Math.max(-inFit.least[g], inFit.greatest[g])
    if (most === 0) {
      scales[0] = 0
      return 1
    }
    const low = Math.max(inFit.sizes[g] / this.layout.groupSize, this.clipped * most) / this.longer
    const high = (1.1 * most) / this.reach
    const starts = Math.ceil(Math.log(high / low) / this.ratio)
    const count = Math.min(mostStarts, Math.max(fewestStarts, starts))
    const ratio = (high / low) ** (1 / (count - 1))
    for (let i = 0, s = low; i < count; i++, s *= ratio) scales[i] = s
    return count
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
