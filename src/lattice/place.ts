/**
 * Codes and scales of a number format for weights that lie on a lattice already, so that its codes are kept. Each group of the format
 * is fitted by itself, and keeps its codes where the levels of the format hold them and the stored scale is close enough to the step.
 *
 * Formats whose groups have scales of their own within a block (K-quants) are left to the quantizer: their scales are products that
 * hardly ever equal the steps.
 */
import { roundingOf } from '../formats/float-rounding.js'
import type { Codes, Format, GridLayout } from '../formats/format.js'
import { nearest } from '../formats/levels.js'
import { roundScale, type ScaleRounding } from '../formats/stored-scale.js'
import { formats } from '../formats/table.js'
import { type Fit, fitMultiples, fitShifted, type Weights } from './fit.js'

/** How far a stored scale may be from the step, relatively: an eighth of a step at level 8. */
const scaleTolerance = 1 / 64

export interface Placed {
  /** Groups of the format. */
  readonly groups: number
  /** Of these, the ones whose codes are kept. */
  readonly kept: number
  /** Sums over the weights of the kept groups: of squares, and of squared differences from what the format stores. */
  readonly squares: number
  readonly squaredError: number
}

/** The grid of a format that can hold a lattice. */
const plainGrid = ({ grid }: Format): GridLayout | undefined =>
  grid?.scale.group || grid?.offset?.group ? undefined : grid

/** Formats that can hold lattices, the smallest first. */
export const latticeFormats: readonly Format[] = formats
  .filter((format) => plainGrid(format))
  .toSorted((a, b) => a.blockBytes / a.blockSize - b.blockBytes / b.blockSize)

/**
 * Puts the groups of weights that lie on a lattice into `codes`, which come from a quantizer; other groups stay as they are.
 * @param values whole blocks
 * @param least share of the groups that must keep their codes; it ends early where they cannot
 * @returns undefined for a format that cannot hold lattices, or not enough of the groups
 */
export function placeOnGrid(
  format: Format,
  values: Float32Array,
  codes: Codes,
  least = 0,
): Placed | undefined {
  const grid = plainGrid(format)
  if (!grid) return undefined
  const { groupSize, scale, offset } = grid
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const weights = { values, bits, rounding: roundingOf(bits) }
  const found = new Int16Array(groupSize)
  const groups = values.length / groupSize
  let [kept, squares, squaredError, first] = [0, 0, 0, 1]
  for (let group = 0; group < groups; group++) {
    const start = group * groupSize
    const placed = offset
      ? placeShifted(weights, start, grid, found, first)
      : placeMultiples(weights, start, grid, found, first)
    if (!placed) {
      if (group + 1 - kept > (1 - least) * groups) return undefined
      continue
    }
    first = Math.max(1, placed.fit.greatest, -placed.fit.least)
    codes[scale.block.field][group] = placed.scale
    if (offset) codes[offset.block.field][group] = placed.offset * offset.sign
    for (let i = 0; i < groupSize; i++) {
      const code = found[i] * placed.multiplier + 0 // no -0, which a file cannot hold
      codes.q[start + i] = code
      const value = values[start + i]
      squares += value * value
      squaredError += (placed.scale * code + placed.offset - value) ** 2
    }
    kept++
  }
  return { groups, kept, squares, squaredError }
}

interface PlacedGroup {
  readonly fit: Fit
  readonly scale: number
  readonly offset: number
  /** Of the codes. */
  readonly multiplier: number
}

function placeMultiples(
  weights: Weights,
  start: number,
  { groupSize, levels, scale }: GridLayout,
  codes: Int16Array,
  first: number,
): PlacedGroup | undefined {
  const fit = fitMultiples(weights, start, groupSize, codes, first)
  if (!fit) return undefined
  const { rounding } = scale.block
  const largest = Math.max(Math.abs(levels.lo), levels.hi)
  const top = Math.max(fit.greatest, -fit.least)
  if (top === 0) {
    codes.fill(nearest(levels, 0))
    return { fit, scale: storedScale(rounding, 0), offset: 0, multiplier: 1 }
  }
  let best: PlacedGroup | undefined
  let bestError = scaleTolerance * fit.step
  for (let size = 1; size * top <= largest; size++) {
    // Halves have the same relative precision at every size, other scales have not.
    if (best && rounding.as === 'half') break
    for (const multiplier of [size, -size]) {
      if (!onLevels(codes, fit, multiplier, levels)) continue
      const stored = storedScale(rounding, fit.step / multiplier)
      const error = Math.abs(stored * multiplier - fit.step)
      if (!(error < bestError)) continue
      bestError = error
      best = { fit, scale: stored, offset: 0, multiplier }
    }
  }
  return best
}

function placeShifted(
  weights: Weights,
  start: number,
  { groupSize, levels, scale, offset }: GridLayout,
  codes: Int16Array,
  first: number,
): PlacedGroup | undefined {
  const fit = fitShifted(weights, start, groupSize, codes, levels.hi - levels.lo, Math.min(first, levels.hi))
  if (!fit || !offset) return undefined
  const stored = storedScale(scale.block.rounding, fit.step)
  if (Math.abs(stored - fit.step) > scaleTolerance * fit.step) return undefined
  // What the rounding of the scale has moved is shared evenly among the weights.
  let sum = 0
  for (let i = 0; i < groupSize; i++) sum += weights.values[start + i] - stored * codes[i]
  const shift = storedScale(offset.block.rounding, sum / groupSize)
  if (Math.abs(shift - sum / groupSize) > stored / 4) return undefined
  return { fit, scale: stored, offset: shift, multiplier: 1 }
}

/** The nearest scale that can be stored; NaN for one that a half cannot hold. */
function storedScale(rounding: ScaleRounding, value: number): number {
  const stored = roundScale(rounding, value)
  return Number.isFinite(stored) ? stored : Number.NaN
}

function onLevels(
  codes: Int16Array,
  { least, greatest }: Fit,
  multiplier: number,
  { lo, hi, table }: GridLayout['levels'],
): boolean {
  const [a, b] = [least * multiplier, greatest * multiplier]
  if (a < lo || a > hi || b < lo || b > hi) return false
  return (
    table === undefined ||
    codes.every((code) => nearest({ lo, hi, table }, code * multiplier) === code * multiplier)
  )
}
