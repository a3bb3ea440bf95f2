/**
 * Visits the stored numbers of a matrix row by row, within a panel of columns (refine.ts): each is set to the value on the file's grid
 * that minimizes the error with all others fixed. Work on columns is done by kernels (descent.wat, vectors.wat).
 */
import type { Codes, Factor, GridLayout } from '../formats/format.js'
import { roundScale } from '../formats/stored-scale.js'
import { inDescent, kernel, loadLevels } from './descent.js'
import { enterVectors, improveVectors } from './vectors.js'

/** A scale that would change by less than this share is left as it is, to save time. */
const smallest = 0.004
/** Visits of a panel in a row. The second needs no matrix product, and gains nearly as much as another sweep over all panels (LOG.md). */
const visits = 2

/**
 * The numbers of a row in a panel of columns. Everything is divided by G_ii, so that the curvature is H. The panel is in the memory of
 * this thread's kernel, so only one can be visited at a time, from `enter` to the last `improve`, without an await in between.
 */
export class Coordinates {
  private column = 0
  private width = 0
  private levels: ReturnType<typeof loadLevels> = [0, 0, 0]
  /** The kernel's memory of a row. */
  private q = inDescent.codes
  private changes = inDescent.moved
  private optima = inDescent.optimum

  /** @param optimum takes the unrounded optimum of each weight, with all others fixed */
  constructor(
    private readonly codes: Codes,
    private readonly layout: GridLayout,
    readonly n: number,
    readonly h: Float32Array,
    private readonly optimum?: Float32Array,
  ) {}

  /** Loads a panel. */
  enter(column: number, width: number): void {
    this.column = column
    this.width = width
    this.levels = loadLevels(this.layout.levels)
    this.q = inDescent.codes.subarray(0, width)
    this.changes = inDescent.moved.subarray(0, width)
    this.optima = inDescent.optimum.subarray(0, width)
    for (let j = 0; j < width; j++) {
      const at = (column + j) * this.n + column
      inDescent.block.set(this.h.subarray(at, at + width), j * width)
      inDescent.diagonal[j] = this.h[at + j]
    }
    const { codebook } = this.layout
    if (codebook) enterVectors(codebook, width)
  }

  /**
   * Visits every number of row `i` in the panel twice, and writes the change of each weight to `moved`. Half the gradient with respect to the
   * weights is in the kernel (`inDescent.slope`) and kept current.
   */
  improve(i: number, moved: Float32Array): void {
    const { codes, q, changes, width } = this
    const at = i * this.n + this.column
    const first = at / this.layout.groupSize
    q.set(codes.q.subarray(at, at + width))
    changes.fill(0)
    for (let visit = 0; visit < visits; visit++) this.visit(first)
    codes.q.set(q, at)
    moved.set(changes)
    if (this.optimum) this.writeOptimum(this.optimum, at, first)
  }

  /** @param first the first group of the panel */
  private visit(first: number): void {
    const { width } = this
    const { scale, offset, groupSize } = this.layout
    for (let group = first, from = 0; from < width; group++, from += groupSize) {
      const step = factorValue(this.codes, scale, group)
      if (step !== 0) this.improveCodes(from, from + groupSize, step)
      this.improveFactor(scale, group, from, 1)
      if (offset) this.improveFactor(offset, group, from, offset.sign)
    }
    if (scale.group) this.improveShared(scale, first, 1)
    if (offset?.group) this.improveShared(offset, first, offset.sign)
  }

  private improveCodes(from: number, to: number, scale: number): void {
    if (this.layout.codebook) improveVectors(from, to, scale)
    else kernel.improveCodes(from, to, this.width, scale, ...this.levels)
  }

  /** Improves the number of a group, or that of a block that is one group, which begins at column `from`. */
  private improveFactor(factor: Factor, index: number, from: number, sign: number): void {
    const { width, layout } = this
    const to = from + layout.groupSize
    const { field, rounding } = factor.group ?? factor.block
    const stored = this.codes[field]
    const unit = factor.group ? blockValue(this.codes, factor, index) : 1
    if (unit === 0) return
    const descent = kernel.direct(from, to, sign * unit, factor === layout.scale ? 1 : 0)
    const curvature = kernel.spread(from, to, width, from, to)
    if (!(curvature > 0)) return
    const value = roundScale(rounding, stored[index] - descent / curvature)
    const by = value - stored[index]
    if (Math.abs(by) < smallest * Math.abs(stored[index])) return
    if (!improves(by, descent, curvature)) return
    stored[index] = value
    this.advance(from, to, by)
  }

  /**
   * Improves the numbers of blocks of several groups; a panel has whole blocks.
   * @param first the first group of the panel
   */
  private improveShared(factor: Factor, first: number, sign: number): void {
    if (!factor.group) return
    const { width, codes, layout } = this
    const { groupSize } = layout
    const stored = codes[factor.block.field]
    const ofGroups = codes[factor.group.field]
    const perBlock = ofGroups.length / stored.length
    const blockSize = perBlock * groupSize
    for (let from = 0; from < width; from += blockSize) {
      const to = from + blockSize
      let group = first + from / groupSize
      const index = Math.floor(group / perBlock)
      let descent = 0
      for (let at = from; at < to; at += groupSize, group++)
        descent += kernel.direct(at, at + groupSize, sign * ofGroups[group], factor === layout.scale ? 1 : 0)
      const curvature = kernel.spread(from, to, width, from, to)
      if (!(curvature > 0)) continue
      const value = roundScale(factor.block.rounding, stored[index] - descent / curvature)
      const by = value - stored[index]
      if (!improves(by, descent, curvature)) continue
      stored[index] = value
      this.advance(from, to, by)
    }
  }

  /** Moves the weights of some columns along their direction, whose product with H is known for these columns. */
  private advance(from: number, to: number, by: number): void {
    const { width } = this
    kernel.spread(from, to, width, 0, from)
    kernel.spread(from, to, width, to, width)
    kernel.advance(from, to, width, by)
  }

  private writeOptimum(optimum: Float32Array, at: number, first: number): void {
    const { codes, width } = this
    const { scale, offset, groupSize } = this.layout
    for (let group = first, from = 0; from < width; group++, from += groupSize) {
      const shift = offset ? offset.sign * factorValue(codes, offset, group) : 0
      kernel.findOptimum(from, from + groupSize, factorValue(codes, scale, group), shift)
    }
    optimum.set(this.optima, at)
  }
}

/** Whether a step lowers the error, which rounding or a range may have made too long, or a scale that overflowed. */
const improves = (by: number, descent: number, curvature: number): boolean =>
  by * (2 * descent + by * curvature) < 0

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
