/**
 * Searches for the best stored numbers of a unit: the weights that share a block's scale, as one group or as several with scales of
 * their own. All it knows about a format is its `grid`: the levels, how stored numbers are rounded, and which of them are shared.
 *
 *   1. for each group by itself, the best scale and offset: real numbers, or entries of a list (group-fit.ts)
 *   2. the block's numbers, from many candidates; a group's error is taken as a parabola around its own optimum (share.ts)
 *   3. the stored numbers of groups and block in turn, until no change improves the error (polish)
 *
 * The third step is also run from another quantizer's numbers, and the better result is kept.
 */
import type { Factor, GridLayout } from '../../formats/format.js'
import { roundScale } from '../../formats/stored-scale.js'
import { kernel } from './fit.js'
import { GroupFit } from './group-fit.js'
import { ones, rangeOf, shareFactor, type UnitFactor } from './share.js'

export interface UnitNumbers {
  readonly scale: UnitFactor
  readonly offset: UnitFactor
}

/** Rounds in which the numbers of a unit are improved; few units need this many. */
const mostRounds = 8

/** Numbers of a unit of one group that has none of its own, and of an offset where there is none. */
const one = [1]
const none: UnitFactor = { block: 0, groups: one }

export class UnitSearch {
  private readonly fits: GroupFit
  /** The scales of groups that are entries of a list, and whether scales may be negative. */
  private readonly listed: Float32Array | undefined
  private readonly signed: boolean

  /** @param groups number of groups in the unit */
  constructor(
    private readonly layout: GridLayout,
    readonly groups: number,
  ) {
    this.fits = new GroupFit(layout, groups)
    const { block, group } = layout.scale
    const { rounding } = group ?? block
    this.listed = !group && rounding.as === 'listed' ? rounding.values : undefined
    this.signed = rangeOf(rounding)[0] < 0
  }

  /** Takes a unit of the weights in the kernel's memory, from index `at` on, with their importances: all above 0. */
  load(at: number): void {
    kernel.take(at, this.fits.w.length)
    this.fits.load()
  }

  /** The error of the codes in the kernel's memory, from index `at` on. */
  errorOfCodes(numbers: UnitNumbers, at: number): number {
    const size = this.layout.groupSize
    let error = 0
    for (let g = 0; g < this.groups; g++)
      error = this.fits.errorOf(error, at + g * size, g, this.scaleOf(numbers, g), this.offsetOf(numbers, g))
    return error
  }

  /** Writes the nearest codes to the kernel's memory, from index `at` on. */
  encode(numbers: UnitNumbers, at: number): void {
    const size = this.layout.groupSize
    for (let g = 0; g < this.groups; g++)
      this.fits.encode(at + g * size, g, this.scaleOf(numbers, g), this.offsetOf(numbers, g))
  }

  /** Improves on `start`, which may be changed, for the loaded weights. @returns the best numbers found, with their error */
  search(start: UnitNumbers): { readonly numbers: UnitNumbers; readonly error: number } {
    const own = this.ownNumbers()
    const ends = [this.polish(own), this.polish(start)]
    return ends[1] < ends[0] ? { numbers: start, error: ends[1] } : { numbers: own, error: ends[0] }
  }

  /** Scale of a group as readers of the file compute it; likewise `offsetOf`. */
  scaleOf({ scale }: UnitNumbers, g: number): number {
    return Math.fround(scale.block * scale.groups[g])
  }

  offsetOf({ offset }: UnitNumbers, g: number): number {
    const { sign = 1 } = this.layout.offset ?? {}
    return sign * Math.fround(offset.block * offset.groups[g])
  }

  /** The best numbers of each group by itself, joined by a number for the block. */
  private ownNumbers(): UnitNumbers {
    const { fits, listed, signed } = this
    const { scale, offset } = this.layout
    if (!scale.group && !offset)
      return {
        scale: { block: roundScale(scale.block.rounding, fits.best(0, signed, listed).scale), groups: one },
        offset: none,
      }
    const [scales, offsets, curvatures, offsetCurvatures]: number[][] = [[], [], [], []]
    for (let g = 0; g < this.groups; g++) {
      const fit = fits.best(g, signed, listed)
      scales.push(fit.scale)
      offsets.push(fit.offset * (offset?.sign ?? 1))
      curvatures.push(fit.scaleCurvature)
      offsetCurvatures.push(fit.offsetCurvature)
    }
    if (!offset)
      return {
        scale: shareFactor(scale, scales, curvatures),
        offset: { block: 0, groups: ones(this.groups) },
      }
    const shared = shareFactor(offset, offsets, offsetCurvatures)
    // Scales refitted to the offsets that can be stored.
    const moved = scales.map((s, g) => fits.settle(g, s, offset.sign * shared.block * shared.groups[g]))
    return {
      scale: shareFactor(
        scale,
        moved.map((fit) => fit.scale),
        moved.map((fit) => fit.scaleCurvature),
      ),
      offset: shared,
    }
  }

  /** Improves numbers in place until none of them can be improved alone. @returns the error */
  private polish(numbers: UnitNumbers): number {
    const { layout } = this
    let error = this.errorOf(numbers)
    if (!Number.isFinite(error)) return Number.POSITIVE_INFINITY
    for (let round = 0; round < mostRounds; round++) {
      const before = error
      for (let g = 0; g < this.groups; g++) {
        this.improveGroup(numbers, numbers.scale, layout.scale, g)
        if (layout.offset) this.improveGroup(numbers, numbers.offset, layout.offset, g)
      }
      error = this.improveShared(numbers)
      if (!(error < before * (1 - 1e-7))) break
    }
    return error
  }

  /** Moves a group's stored number up or down for as long as the error falls. */
  private improveGroup(numbers: UnitNumbers, own: UnitFactor, { group }: Factor, g: number): void {
    if (group?.rounding.as !== 'integer') return
    const { lo, hi } = group.rounding
    const errorAt = (): number => this.fits.fit(g, this.scaleOf(numbers, g), this.offsetOf(numbers, g))
    let error = errorAt()
    for (const by of [1, -1]) {
      let moves = 0
      for (;;) {
        const value = own.groups[g]
        if (value + by < lo || value + by > hi) break
        own.groups[g] = value + by
        const next = errorAt()
        if (next < error) {
          error = next
          moves++
          continue
        }
        own.groups[g] = value
        break
      }
      if (moves > 0) break
    }
  }

  /** Takes the block's least-squares numbers for the current codes if they lower the error. @returns the error */
  private improveShared(numbers: UnitNumbers): number {
    const { scale, offset } = numbers
    const { layout, fits } = this
    const sign = layout.offset?.sign ?? 1
    let error = 0
    // The normal equations.
    let a11 = 0
    let a12 = 0
    let a22 = 0
    let b1 = 0
    let b2 = 0
    for (let g = 0; g < this.groups; g++) {
      const s = scale.groups[g]
      const m = sign * offset.groups[g]
      const at = this.offsetOf(numbers, g)
      error += fits.fit(g, this.scaleOf(numbers, g), at)
      a11 += s * s * fits.qq
      a12 += s * m * fits.q1
      a22 += m * m * fits.h1[g]
      b1 += s * (fits.qx + at * fits.q1)
      b2 += m * fits.w1[g]
    }
    const { block } = scale
    const before = offset.block
    const determinant = a11 * a22 - a12 * a12
    if (!layout.offset) scale.block = b1 / a11
    else if (determinant > 1e-12 * a11 * a22) {
      scale.block = (b1 * a22 - b2 * a12) / determinant
      offset.block = (b2 * a11 - b1 * a12) / determinant
    } else scale.block = (b1 - offset.block * a12) / a11
    scale.block = roundScale(layout.scale.block.rounding, scale.block)
    if (layout.offset) offset.block = roundScale(layout.offset.block.rounding, offset.block)
    const after = this.errorOf(numbers)
    if (after < error) return after
    scale.block = block
    offset.block = before
    return error
  }

  private errorOf(numbers: UnitNumbers): number {
    let error = 0
    for (let g = 0; g < this.groups; g++)
      error += this.fits.fit(g, this.scaleOf(numbers, g), this.offsetOf(numbers, g))
    return error
  }
}
