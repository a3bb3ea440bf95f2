/**
 * Visits the stored numbers of a matrix row by row, within a panel of columns (refine.ts): each is set to the value on the file's grid
 * that minimizes the error with all others fixed.
 */
import type { Codes, Factor, GridLayout } from '../formats/format.js'
import { nearest } from '../formats/levels.js'
import { roundScale } from '../formats/stored-scale.js'
import { inDescent, kernel } from './descent.js'

/** A scale that would change by less than this share is left as it is, to save time. */
const smallest = 0.004

/**
 * The numbers of a row in a panel of columns. Everything is divided by G_ii, so that the curvature is H. The panel is in the memory of
 * this thread's kernel, so only one can be visited at a time, from `enter` to the last `improve`, without an await in between.
 */
export class Coordinates {
  /** Half the gradient with respect to the row's weights in the panel. */
  readonly slope = inDescent.slope
  private readonly direction = inDescent.direction
  private readonly block = inDescent.block
  private column = 0
  private width = 0
  private moved: Float32Array = new Float32Array(0)

  constructor(
    private readonly codes: Codes,
    private readonly layout: GridLayout,
    readonly n: number,
    readonly h: Float32Array,
    private readonly optimum: Float32Array,
  ) {}

  /** Loads a panel. */
  enter(column: number, width: number): void {
    this.column = column
    this.width = width
    for (let j = 0; j < width; j++) {
      const at = (column + j) * this.n + column
      this.block.set(this.h.subarray(at, at + width), j * width)
    }
  }

  /** Visits every number of row `i` in the panel, and adds the change of each weight to `moved`. */
  improve(i: number, moved: Float32Array): void {
    this.moved = moved
    const { scale, offset, groupSize } = this.layout
    const first = (i * this.n + this.column) / groupSize
    const at = i * this.n + this.column
    const q = (j: number): number => this.codes.q[at + j]
    const sign = offset?.sign ?? 1
    for (let group = 0; group < this.width / groupSize; group++) {
      this.improveCodes(at, group, factorValue(this.codes, scale, first + group))
      this.improveFactor(scale, first + group, group, q)
      if (offset) this.improveFactor(offset, first + group, group, () => sign)
    }
    for (const factor of offset ? [scale, offset] : [scale])
      if (factor.group) this.improveShared(factor, first, factor === scale ? q : () => sign)
    for (let group = 0; group < this.width / groupSize; group++) this.writeOptimum(at, group, first + group)
  }

  private improveCodes(at: number, group: number, step: number): void {
    if (step === 0) return
    const { slope, width, block } = this
    const { groupSize, levels } = this.layout
    const { q } = this.codes
    for (let j = group * groupSize; j < (group + 1) * groupSize; j++) {
      const code = nearest(levels, q[at + j] - slope[j] / (block[j * width + j] * step))
      if (code === q[at + j]) continue
      this.move(j, step * (code - q[at + j]))
      q[at + j] = code
    }
  }

  /** Improves the number of a group, or that of a block that is one group. */
  private improveFactor(factor: Factor, index: number, group: number, along: (j: number) => number): void {
    const { slope, direction, width, block } = this
    const { groupSize } = this.layout
    const { field, rounding } = factor.group ?? factor.block
    const stored = this.codes[field]
    const unit = factor.group ? blockValue(this.codes, factor, index) : 1
    if (unit === 0) return
    const [from, to] = [group * groupSize, (group + 1) * groupSize]
    let descent = 0
    let curvature = 0
    for (let j = from; j < to; j++) {
      direction[j] = unit * along(j)
      descent += direction[j] * slope[j]
    }
    // H is symmetric: elements below its diagonal count twice.
    for (let j = from; j < to; j++) {
      let sum = 0
      let at = j * width + from
      for (let k = from; k < j; k++, at++) sum += direction[k] * block[at]
      curvature += direction[j] * (2 * sum + direction[j] * block[at])
    }
    if (!(curvature > 0)) return
    const wanted = stored[index] - descent / curvature
    const value = roundScale(rounding, wanted)
    const by = value - stored[index]
    if (Math.abs(by) < smallest * Math.abs(stored[index])) return
    // Rejects a step that rounding or a range has made too long, and a scale that overflowed.
    if (!(by * (2 * descent + by * curvature) < 0)) return
    stored[index] = value
    for (let j = from; j < to; j++) if (direction[j] !== 0) this.moved[j] += by * direction[j]
    kernel.moveAlong(from, to, width, by)
  }

  /**
   * Improves the numbers of blocks of several groups; a panel has whole blocks.
   * @param first the first group of the panel
   */
  private improveShared(factor: Factor, first: number, along: (j: number) => number): void {
    if (!factor.group) return
    const { slope, direction, width, codes } = this
    const { groupSize } = this.layout
    const stored = codes[factor.block.field]
    const ofGroups = codes[factor.group.field]
    const perBlock = ofGroups.length / stored.length
    const blockSize = perBlock * groupSize
    for (let from = 0; from < width; from += blockSize) {
      const to = from + blockSize
      const group = first + from / groupSize
      const index = Math.floor(group / perBlock)
      let descent = 0
      for (let j = from; j < to; j++) {
        direction[j] = ofGroups[group + Math.floor((j - from) / groupSize)] * along(j)
        descent += direction[j] * slope[j]
      }
      const before = slope.slice(0, width)
      kernel.moveAlong(from, to, width, 1) // adds H times the direction
      let curvature = 0
      for (let j = from; j < to; j++) curvature += direction[j] * (slope[j] - before[j])
      const value =
        curvature > 0 ? roundScale(factor.block.rounding, stored[index] - descent / curvature) : stored[index]
      const by = value - stored[index]
      const better = by * (2 * descent + by * curvature) < 0
      for (let k = 0; k < width; k++) slope[k] = better ? before[k] + by * (slope[k] - before[k]) : before[k]
      if (!better) continue
      stored[index] = value
      for (let j = from; j < to; j++) this.moved[j] += by * direction[j]
    }
  }

  /** Changes weight `j` of the panel. */
  private move(j: number, by: number): void {
    this.moved[j] += by
    kernel.move(j, this.width, by)
  }

  /** Writes the unrounded optimum of each weight of a group, with all others fixed. */
  private writeOptimum(at: number, group: number, index: number): void {
    const { codes, slope, block, width, optimum } = this
    const { scale, offset, groupSize } = this.layout
    const step = factorValue(codes, scale, index)
    const shift = offset ? offset.sign * factorValue(codes, offset, index) : 0
    for (let j = group * groupSize; j < (group + 1) * groupSize; j++)
      optimum[at + j] = step * codes.q[at + j] + shift - slope[j] / block[j * width + j]
  }
}

/** The number of a group's block. */
function blockValue(codes: Codes, { block, group }: Factor, index: number): number {
  const stored = codes[block.field]
  return group ? stored[Math.floor(index / (codes[group.field].length / stored.length))] : stored[index]
}

/** The scale or minimum of a group, as the file stores it. */
function factorValue(codes: Codes, factor: Factor, index: number): number {
  const value = blockValue(codes, factor, index)
  return factor.group ? value * codes[factor.group.field][index] : value
}
