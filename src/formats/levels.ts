/**
 * The levels of a grid: the values that the code of a weight can have, so that w = scale * level - min. In most formats these are all
 * integers of a range; in some, a table.
 *
 * Codes are these values, not their indices in a table. A value is rounded to the nearest level; ties go up.
 */

export interface Levels {
  /** The smallest and the largest level. */
  readonly lo: number
  readonly hi: number
  /** Unless they are all integers between: at most 16 integers of 8 bits, ascending, and the midpoints of neighbours. */
  readonly table?: { readonly values: Float32Array; readonly middles: Float32Array }
}

/** All integers of a range. */
export const integers = (lo: number, hi: number): Levels => ({ lo, hi })

/** The levels of a table. */
export function tableOf(...values: readonly number[]): Levels {
  const middles = values.slice(1).map((value, i) => (values[i] + value) / 2)
  return {
    lo: values[0],
    hi: values[values.length - 1],
    table: { values: Float32Array.from(values), middles: Float32Array.from(middles) },
  }
}

/** The level nearest to a value. */
export function nearest({ lo, hi, table }: Levels, x: number): number {
  if (!table) return Math.min(hi, Math.max(lo, Math.floor(x + 0.5)))
  const { values, middles } = table
  let i = 0
  while (i < middles.length && x >= middles[i]) i++
  return values[i]
}

/** The distances from a level to the edges of its cell; the cell of a level at an end is symmetric. */
export function halfGaps({ table }: Levels, level: number): { below: number; above: number } {
  if (!table) return { below: 0.5, above: 0.5 }
  const { values, middles } = table
  const i = values.indexOf(level)
  const below = i > 0 ? level - middles[i - 1] : middles[0] - level
  const above = i < middles.length ? middles[i] - level : level - middles[i - 1]
  return { below, above }
}

/** The interval (start included) in which values are rounded instead of clipped. */
export const clippedOutside = (levels: Levels): readonly [from: number, to: number] => [
  levels.lo - halfGaps(levels, levels.lo).below,
  levels.hi + halfGaps(levels, levels.hi).above,
]

/** The mean spacing of levels. */
export const meanGap = ({ lo, hi, table }: Levels): number => (table ? (hi - lo) / table.middles.length : 1)
