/**
 * Rounding of latents to the grid of their format, and its gradient. The grid is the format's `grid`, in the f32 operations of its
 * dequantizer, so a rounded weight equals the dequantized one bit for bit:
 *
 *   q = the level nearest to (w + m) / s      w' = s * q - m
 *
 * with s the stored scale and m the stored minimum of a group: a number of the block, times one of the group if the format has it. With
 * integer levels, q = clip(floor((w + m) / s + 0.5), lo, hi). Work on every weight is a kernel (kernel.wat); work on groups and blocks
 * is plain code here.
 *
 * Gradients: rounding is straight-through, and a weight with a clipped code gets none (one with a scale of zero may get some, which
 * has no effect). For scales the codes count as constants, so dw'/ds = q and dw'/dm = -1, the gradient of the stored weights
 * (EfficientQAT's second phase, arXiv 2407.11062; that of LSQ, arXiv 1902.08153, was measured to be no better).
 */

import type { Codes, Factor, Grid, GridLayout, Latents } from '../../formats/format.js'
import { factorsOf, gridOf } from '../../formats/grids.js'
import { clippedOutside, type Levels } from '../../formats/levels.js'
import { clearClipped, roundScales } from '../../formats/stored-scale.js'
import type { AdamStep } from '../backend.js'
import { type HostMoments, moveOf } from './adam.js'
import { inKernel, kernel, pieceSize } from './kernel.js'

/** The scales and minimums as a file stores them, by field. */
function storedScales(layout: GridLayout, latents: Latents): Codes {
  const stored: Codes = {}
  for (const { block, group } of factorsOf(layout))
    for (const { field, rounding } of group ? [block, group] : [block])
      stored[field] = roundScales(rounding, latents[field].values)
  return stored
}

/** Values of a group, and of a piece for the kernel, which is whole groups. */
function sizes(values: Float32Array, { scales }: Grid): { group: number; piece: number } {
  const group = values.length / scales.length
  if (group % 4 !== 0) throw new RangeError(`groups of ${group} weights are no multiple of 4`)
  if (group > pieceSize)
    throw new RangeError(`groups of ${group} weights are longer than the kernel's ${pieceSize}`)
  return { group, piece: Math.floor(pieceSize / group) * group }
}

/** Copies the groups of a grid to the kernel. */
function loadGrid({ scales, mins }: Grid, start: number, end: number): void {
  inKernel.scales.set(scales.subarray(start, end))
  if (mins) inKernel.mins.set(mins.subarray(start, end))
  else inKernel.mins.fill(0, 0, end - start)
}

/** Copies the levels of a grid to the kernel, and returns its arguments for them. */
function loadLevels(levels: Levels): [lo: number, hi: number, steps: number] {
  const { lo, hi, table } = levels
  if (!table) return [lo, hi, 0]
  const { values, middles } = table
  inKernel.levels.set(clippedOutside(levels))
  middles.forEach((middle, i) => {
    inKernel.levels.set([middle, values[i + 1] - values[i]], 2 + 2 * i)
  })
  return [lo, hi, middles.length]
}

/** Rounds values to their grid: writes the weights, and their codes to `codes` if it is given. */
export function roundToGrid(
  values: Float32Array,
  grid: Grid,
  weights: Float32Array,
  codes?: Float32Array,
): void {
  const { group, piece } = sizes(values, grid)
  const levels = loadLevels(grid.levels)
  for (let start = 0; start < values.length; start += piece) {
    const count = Math.min(piece, values.length - start)
    inKernel.values.set(values.subarray(start, start + count))
    loadGrid(grid, start / group, (start + count) / group)
    kernel.round(count / group, group / 4, ...levels)
    weights.set(inKernel.weights.subarray(0, count), start)
    codes?.set(inKernel.codes.subarray(0, count), start)
  }
}

/** Sums over the weights of each group: of gradient * code, and of the gradients. */
export interface HostSums {
  readonly products: Float32Array
  readonly gradients: Float32Array
}

/** Dequantizes codes on a grid into `weights`. */
export function weightsOf(codes: Float32Array, { scales, mins }: Grid, weights: Float32Array): void {
  const group = codes.length / scales.length
  for (let g = 0, i = 0; g < scales.length; g++) {
    const [scale, min] = [scales[g], mins?.[g] ?? 0]
    for (const end = i + group; i < end; i++) weights[i] = scale * codes[i] - min
  }
}

/**
 * Backpropagates the gradient of rounded weights through the rounding. Writes the sums of the groups, and updates the values by a step
 * of Adam if `step` is given.
 */
export function trainOnGrid(
  values: Float32Array,
  gradient: Float32Array,
  grid: Grid,
  sums: HostSums,
  step?: AdamStep & { readonly moments: HostMoments; readonly unit: Float32Array },
): void {
  const { group, piece } = sizes(values, grid)
  const levels = loadLevels(grid.levels)
  const move = step ? moveOf(step) : 0
  for (let start = 0; start < values.length; start += piece) {
    const end = Math.min(start + piece, values.length)
    const count = end - start
    const [from, to] = [start / group, end / group]
    inKernel.values.set(values.subarray(start, end))
    inKernel.gradient.set(gradient.subarray(start, end))
    loadGrid(grid, from, to)
    kernel.gradient(to - from, group / 4, ...levels)
    sums.products.set(inKernel.products.subarray(0, to - from), from)
    sums.gradients.set(inKernel.sums.subarray(0, to - from), from)
    if (!step) continue
    const { first, second } = step.moments
    inKernel.first.set(first.subarray(start, end))
    inKernel.second.set(second.subarray(start, end))
    inKernel.unit.set(step.unit.subarray(from, to))
    kernel.adam(to - from, group / 4, 0, step.gradientScale, move)
    values.set(inKernel.values.subarray(0, count), start)
    first.set(inKernel.first.subarray(0, count), start)
    second.set(inKernel.second.subarray(0, count), start)
  }
}

/** Gradients of the latent scales and minimums, by field, from the sums over their groups. */
export function scaleGradients(
  { scale, offset }: GridLayout,
  latents: Latents,
  stored: Codes,
  sums: HostSums,
): Record<string, Float32Array> {
  const gradients = factorGradients(scale, latents, stored, sums.products, 1)
  return offset
    ? { ...gradients, ...factorGradients(offset, latents, stored, sums.gradients, offset.sign) }
    : gradients
}

/** Gradients of a number of the block and one of the group, from the gradient of their product up to its sign. */
function factorGradients(
  { block, group }: Factor,
  latents: Latents,
  stored: Codes,
  sums: Float32Array,
  sign: 1 | -1,
): Record<string, Float32Array> {
  const blocks = stored[block.field]
  const ofBlocks = new Float32Array(blocks.length)
  const perBlock = sums.length / blocks.length
  if (!group) {
    for (let i = 0; i < sums.length; i++) ofBlocks[i] = sign * sums[i]
    clearClipped(block.rounding, latents[block.field].values, ofBlocks)
    return { [block.field]: ofBlocks }
  }
  const ownOf = stored[group.field]
  const ofGroups = new Float32Array(sums.length)
  for (let b = 0, i = 0; b < blocks.length; b++) {
    let sum = 0
    for (const end = i + perBlock; i < end; i++) {
      sum += sums[i] * ownOf[i]
      ofGroups[i] = sign * sums[i] * blocks[b]
    }
    ofBlocks[b] = sign * sum
  }
  clearClipped(group.rounding, latents[group.field].values, ofGroups)
  return { [block.field]: ofBlocks, [group.field]: ofGroups }
}

/** The grid of each group, from the latents. */
export function latentGrid(layout: GridLayout, latents: Latents): { stored: Codes; grid: Grid } {
  const stored = storedScales(layout, latents)
  return { stored, grid: gridOf(layout, stored) }
}
