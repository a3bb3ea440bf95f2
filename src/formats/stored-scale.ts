/** How the scales and minimums of a grid are stored and rounded: those of blocks as halves, those of groups as small integers. */
import { floatsToHalves, floatToHalf, halfToFloat, halvesToFloats } from './half.js'

export type ScaleRounding =
  | { readonly as: 'half' }
  | { readonly as: 'integer'; readonly lo: number; readonly hi: number }

/** A stored number of each block or of each group. */
export interface StoredScale {
  /** Field of `Codes`. */
  readonly field: string
  readonly rounding: ScaleRounding
}

/** To the nearest number that can be stored; of integers halves up, and never -0, which a file cannot hold. */
export function roundScale(rounding: ScaleRounding, value: number): number {
  if (rounding.as === 'half') return halfToFloat(floatToHalf(value))
  return Math.min(Math.max(Math.floor(Math.fround(value + 0.5)), rounding.lo), rounding.hi)
}

export function roundScales(rounding: ScaleRounding, values: Float32Array): Float32Array {
  if (rounding.as === 'half') return halvesToFloats(floatsToHalves(values))
  // A plain loop: there is one of them for every group of every weight matrix, in every step.
  const { lo, hi } = rounding
  const rounded = new Float32Array(values.length)
  for (let i = 0; i < values.length; i++)
    rounded[i] = Math.min(Math.max(Math.floor(Math.fround(values[i] + 0.5)), lo), hi)
  return rounded
}

/**
 * Clears the gradients of values that lie beyond what can be stored, which rounding does not follow. Halves overflow, which is
 * found when a file is written.
 */
export function clearClipped(rounding: ScaleRounding, values: Float32Array, gradients: Float32Array): void {
  if (rounding.as === 'half') return
  const { lo, hi } = rounding
  for (let i = 0; i < values.length; i++) {
    const rounded = Math.floor(Math.fround(values[i] + 0.5))
    if (!(rounded >= lo && rounded <= hi)) gradients[i] = 0
  }
}
