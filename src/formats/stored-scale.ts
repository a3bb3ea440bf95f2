/** Storage and rounding of the scales and minimums of a grid: halves, small integers, or numbers from a list. */
import { floatsToHalves, floatToHalf, halfToFloat, halvesToFloats } from './half.js'

export type ScaleRounding =
  | { readonly as: 'half' }
  | { readonly as: 'integer'; readonly lo: number; readonly hi: number }
  /** Numbers from this ascending list, such as the values of a byte (byte-floats.ts). */
  | { readonly as: 'listed'; readonly values: Float32Array }

/** A stored number of each block or of each group. */
export interface StoredScale {
  /** Field of `Codes`. */
  readonly field: string
  readonly rounding: ScaleRounding
}

/** Rounds to the nearest storable number. Ties of integers and listed numbers go up. Never -0, which a file cannot hold. */
export function roundScale(rounding: ScaleRounding, value: number): number {
  if (rounding.as === 'half') return halfToFloat(floatToHalf(value))
  if (rounding.as === 'listed') return nearestOf(rounding.values, value)
  return Math.min(Math.max(Math.floor(Math.fround(value + 0.5)), rounding.lo), rounding.hi)
}

/** The nearest of ascending numbers. */
function nearestOf(values: Float32Array, x: number): number {
  let [first, last] = [0, values.length - 1]
  while (first < last) {
    const i = (first + last) >> 1
    if (x < (values[i] + values[i + 1]) / 2) last = i
    else first = i + 1
  }
  return values[first]
}

const placesOfLists = new WeakMap<Float32Array, Int16Array>()

/**
 * For the upper half of the bits of every f32, the place in a list of the number nearest to all f32 that begin with it; -1 if there is
 * more than one. Numbers with few bits have few such halves.
 */
function placesOf(list: Float32Array): Int16Array {
  const known = placesOfLists.get(list)
  if (known) return known
  const ends = new Float32Array(2)
  const bits = new Uint32Array(ends.buffer)
  const places = Int16Array.from({ length: 1 << 16 }, (_, half) => {
    bits[0] = half << 16
    bits[1] = bits[0] | 0xffff
    const [first, last] = [ends[0], ends[1]].map((x) => nearestOf(list, x))
    return first === last ? list.indexOf(first) : -1
  })
  placesOfLists.set(list, places)
  return places
}

export function roundScales(rounding: ScaleRounding, values: Float32Array): Float32Array {
  if (rounding.as === 'half') return halvesToFloats(floatsToHalves(values))
  // Plain loops, since they run for every group of every weight matrix in every step.
  const rounded = new Float32Array(values.length)
  if (rounding.as === 'listed') {
    const list = rounding.values
    const places = placesOf(list)
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
    for (let i = 0; i < values.length; i++) {
      const place = places[bits[i] >>> 16]
      rounded[i] = place < 0 ? nearestOf(list, values[i]) : list[place]
    }
    return rounded
  }
  const { lo, hi } = rounding
  for (let i = 0; i < values.length; i++)
    rounded[i] = Math.min(Math.max(Math.floor(Math.fround(values[i] + 0.5)), lo), hi)
  return rounded
}

/**
 * Clears the gradients of values outside of the storable range, which are clipped. Halves overflow instead, which is detected when a
 * file is written.
 */
export function clearClipped(rounding: ScaleRounding, values: Float32Array, gradients: Float32Array): void {
  if (rounding.as === 'half') return
  if (rounding.as === 'listed') {
    const [least, greatest] = endsOf(rounding.values)
    for (let i = 0; i < values.length; i++)
      if (!(values[i] >= least && values[i] <= greatest)) gradients[i] = 0
    return
  }
  const { lo, hi } = rounding
  for (let i = 0; i < values.length; i++) {
    const rounded = Math.floor(Math.fround(values[i] + 0.5))
    if (!(rounded >= lo && rounded <= hi)) gradients[i] = 0
  }
}

/** The first and the last of ascending numbers. */
const endsOf = (values: Float32Array): readonly [number, number] => [values[0], values[values.length - 1]]

/** Describes weights for which ggml's quantizer found a non-finite scale; undefined if the scale is finite. */
export function scaleProblem(name: string, rounding: ScaleRounding, value: number): string | undefined {
  if (rounding.as !== 'listed')
    return Number.isFinite(value)
      ? undefined
      : `too large for ${name}, whose scales are halves (65504 at most)`
  const [least, greatest] = endsOf(rounding.values)
  return value >= least && value <= greatest
    ? undefined
    : `too small for ${name}: ggml finds no scale for them`
}
