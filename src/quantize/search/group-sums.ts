/**
 * The error of a group of weights on a grid, sum of h (w - s q - o)^2 with q the nearest level and h the weight's importance, and the
 * sums that least squares of the scale s and the offset o need. Nearly all of the time of a search is spent on them, so they are kernels
 * (fit.wat), and of many scales only those are summed exactly that quick bounds (bounds.wat) do not rule out.
 */
import type { GridLayout } from '../../formats/format.js'
import { type Levels, nearest } from '../../formats/levels.js'
import { inFit, kernel, prune } from './fit.js'

/** An importance without a say in which scales are tried, as a share of its group's mean. */
const negligible = 1e-3
/** Results of a group that are kept. */
const kept = 4
/** Scales that cannot be told apart by bounds in less time than by their errors. */
const few = 8

/** Whose levels the memory of the kernel has. */
let current: GroupSums | undefined

/** The weights of a unit. They are in the memory of this thread's kernel, so only one can be searched at a time, from `load` on. */
export class GroupSums {
  /** The weights of all groups, and their importances: above 0. */
  readonly w: Float64Array
  readonly h: Float64Array
  // Sums over the weights of a group, set by `fit`: of h q^2, h q, and h q (w - o).
  qq = 0
  q1 = 0
  qx = 0
  /** Sums of h and h w by group. */
  readonly h1 = inFit.h1
  readonly w1 = inFit.w1
  /** The table of levels as the kernel takes it; absent where they are all integers. */
  private readonly table: Float64Array | undefined
  /** The index of its last entry, or -1. */
  private readonly last: number
  private readonly size: number
  private readonly lo: number
  private readonly hi: number
  /** What `prune` asks for. */
  private readonly first: number
  private readonly near: number
  // The last results by group, in turns.
  private readonly scales: Float64Array
  private readonly offsets: Float64Array
  private readonly results: Float64Array
  private next = 0

  constructor(
    protected readonly layout: GridLayout,
    readonly groups: number,
  ) {
    const { groupSize, levels } = layout
    if (groups * groupSize > inFit.w.length)
      throw new RangeError(`a unit of ${groups * groupSize} weights is too large`)
    this.size = groupSize
    this.lo = levels.lo
    this.hi = levels.hi
    this.w = inFit.w.subarray(0, groups * groupSize)
    this.h = inFit.h.subarray(0, groups * groupSize)
    this.table = levels.table && positions(levels)
    this.last = this.table ? this.table.length - 1 : -1
    this.first = bitsOf(1.5 * 2 ** 23) + 2 * levels.lo
    this.near = (0.5 - 2 ** -20 * (Math.max(-levels.lo, levels.hi) + 2)) ** 2
    this.scales = new Float64Array(groups * kept)
    this.offsets = new Float64Array(groups * kept)
    this.results = new Float64Array(groups * kept * 4)
  }

  /** Prepares for new values of `w` and `h`. */
  load(): void {
    if (current !== this) {
      if (this.table) {
        inFit.table.set(this.table)
        inFit.table32.set(this.table)
      }
      inFit.offsets.fill(0)
      current = this
    }
    const { groups, size, scales } = this
    for (let g = 0; g < groups; g++) kernel.load(g, g * size, (g + 1) * size, negligible)
    for (let i = 0; i < scales.length; i++) scales[i] = Number.NaN
  }

  /** The error of a group with the nearest codes; sets the sums that least squares need. */
  fit(g: number, scale: number, offset: number): number {
    const { size, scales, offsets, results } = this
    for (let i = g * kept; i < (g + 1) * kept; i++)
      if (scales[i] === scale && offsets[i] === offset) {
        this.qq = results[4 * i + 1]
        this.q1 = results[4 * i + 2]
        this.qx = results[4 * i + 3]
        return results[4 * i]
      }
    const error = kernel.fitOne(scale, offset, g * size, (g + 1) * size, this.lo, this.hi, this.last)
    this.qq = inFit.qq[0]
    this.q1 = inFit.q1[0]
    this.qx = inFit.qx[0]
    this.next = (this.next + 1) % kept
    const i = g * kept + this.next
    scales[i] = scale
    offsets[i] = offset
    results[4 * i] = error
    results[4 * i + 1] = this.qq
    results[4 * i + 2] = this.q1
    results[4 * i + 3] = this.qx
    return error
  }

  /**
   * The scale of least error of a group among the first `count` of the kernel, without an offset; 0 if no error is finite.
   * @param refit whether the error is that with the least-squares scale for the same codes
   * @param low about the least magnitude of these scales
   */
  protected leastOf(g: number, count: number, low: number, refit: boolean): number {
    const { scales, errors, qq, qx } = inFit
    const left = this.prune(g, count, low, refit)
    if (left === 1 && count > 1) return scales[0]
    kernel.fit(left + (left % 2), g * this.size, (g + 1) * this.size, this.lo, this.hi, this.last)
    let [best, scale] = [Number.POSITIVE_INFINITY, 0]
    for (let i = 0; i < left; i++) {
      const error = refit && qq[i] > 0 ? errors[i] - (qx[i] - scales[i] * qq[i]) ** 2 / qq[i] : errors[i]
      if (error < best) {
        best = error
        scale = scales[i]
      }
    }
    return scale
  }

  /** Drops scales that cannot have the least error. @returns how many of the kernel's first ones are left */
  private prune(g: number, count: number, low: number, refit: boolean): number {
    const { size } = this
    const peak = inFit.peak[g]
    // Beyond these numbers f32 has no bounds.
    if (!(count > few && low > 1e-30 && peak < 1e30 && peak < 1e9 * low)) return count
    const { scales } = inFit
    for (let i = count; i % 8 !== 0; i++) scales[i] = scales[count - 1]
    // The best scale is likely to be in the second lot of eight, or the third where there are many.
    const begin = count > 40 ? 16 : 8
    return prune(
      count,
      g * size,
      (g + 1) * size,
      this.lo,
      this.hi,
      this.last,
      this.first,
      this.near,
      refit ? 1 : 0,
      begin,
      inFit.large[g],
    )
  }

  /**
   * Codes and least squares in turns, at most `rounds` times from each of the first `count` scales and offsets of the kernel, which
   * writes the best of each to `inFit.best`. @param count an even number
   */
  protected fitEach(g: number, count: number, rounds: number): void {
    const [from, to] = [g * this.size, (g + 1) * this.size]
    kernel.fitBoth(count, rounds, this.h1[g], this.w1[g], from, to, this.lo, this.hi, this.last)
  }

  /** `before` plus the error of a group with the codes in `inFit.codes` from index `at` on. */
  errorOf(before: number, at: number, g: number, scale: number, offset: number): number {
    return kernel.errorOf(before, at, g * this.size, (g + 1) * this.size, scale, offset)
  }

  /** Writes the nearest codes of a group to `inFit.codes` from index `at` on. */
  encode(at: number, g: number, scale: number, offset: number): void {
    const { size, lo, hi, last } = this
    if (scale === 0) inFit.codes.fill(nearest(this.layout.levels, 0), at, at + size)
    else kernel.encode(at, g * size, (g + 1) * size, scale, offset, lo, hi, last)
  }
}

/** Every half step from the least level to the greatest, as the level nearest to it: middles of levels lie on such steps. */
function positions(levels: Levels): Float64Array {
  const { lo, hi } = levels
  return Float64Array.from({ length: 2 * (hi - lo) + 1 }, (_, k) => nearest(levels, lo + k / 2))
}

/** The bits of a number in f32. */
const bitsOf = (x: number): number => new Int32Array(Float32Array.of(x).buffer)[0]
