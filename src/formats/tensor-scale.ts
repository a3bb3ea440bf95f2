/**
 * Scales of whole tensors (`Format.withTensorScale`), as llama.cpp reads them: `blk.0.ffn_up.scale` beside `blk.0.ffn_up.weight`, one
 * F32 that the product with the matrix is multiplied by. They are powers of two, so that no product with one rounds, and dividing
 * weights by one first gives the same codes as rounding to a grid that is multiplied by it.
 */
import type { Format } from './format.js'

/**
 * Of the largest scale of a group that can be stored: where the group with the largest weight lies, so that training can enlarge it. Below,
 * NVFP4 has 11 powers of two of normal numbers; its subnormal ones are coarse.
 */
const headroom = 1 / 8

/** The least scale of a tensor, and its inverse the greatest: products with it stay normal numbers. */
const least = 2 ** -60

/**
 * @param format without a scale of the tensor, whose scales of groups are those of a list
 * @param largest magnitude of the weights
 * @returns 1 where there are no weights but zeros, or no finite ones
 */
export function tensorScaleOf({ name, grid }: Format, largest: number): number {
  const rounding = grid?.scale.block.rounding
  if (!grid || rounding?.as !== 'listed') throw new RangeError(`${name} has no list of scales`)
  if (!(largest > 0 && largest < Number.POSITIVE_INFINITY)) return 1
  const most = headroom * grid.levels.hi * rounding.values[rounding.values.length - 1]
  const scale = 2 ** Math.ceil(Math.log2(largest / most))
  return Math.min(1 / least, Math.max(least, scale))
}

/** The largest magnitude. */
export function largestOf(weights: Float32Array, before = 0): number {
  let largest = before
  for (const w of weights) if (Math.abs(w) > largest) largest = Math.abs(w)
  return largest
}

/** `blk.0.ffn_up.scale` of `blk.0.ffn_up.weight`; undefined for a tensor that is no weight. */
export const scaleNameOf = (name: string): string | undefined =>
  name.endsWith('.weight') ? `${name.slice(0, -'.weight'.length)}.scale` : undefined

/** Names of the scale of a tensor that are in use, the one that llama.cpp reads first. */
export function scaleNames(name: string): string[] {
  const own = scaleNameOf(name)
  return own === undefined ? [] : [own, `${name}.scale`]
}

/** The inverse of `inUnits`. */
export const outOfUnits = ({ tensorScale }: Format, units: Float32Array): Float32Array =>
  tensorScale === undefined ? units : units.map((w) => w * tensorScale)

/** Weights in units of the scale of their tensor, which are what the reference quantizer gets. */
export const inUnits = ({ tensorScale }: Format, weights: Float32Array): Float32Array =>
  tensorScale === undefined ? weights : weights.map((w) => w / tensorScale)
