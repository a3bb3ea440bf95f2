/** One number for all groups of a block: the factor of the scales or of the offsets that they have as integers. */
import type { Factor } from '../../formats/format.js'
import { roundScale, type ScaleRounding } from '../../formats/stored-scale.js'
import { geometric } from './group-fit.js'

/** The stored numbers of a unit, of its scale or of its offset: one of the block, and one for each group (1 without such). */
export interface UnitFactor {
  block: number
  readonly groups: Float64Array
}

/** Numbers of the block to try for each end of the range of the groups' numbers. */
const starts = 24

/**
 * Stored numbers for the wanted ones of the groups: those that lose least by a parabola around each.
 * @param wanted one for each group
 * @param curvatures of the error of each group
 */
export function shareFactor(
  { block, group }: Factor,
  wanted: readonly number[],
  curvatures: readonly number[],
): UnitFactor {
  if (!group) return { block: roundScale(block.rounding, wanted[0]), groups: Float64Array.of(1) }
  const [lo, hi] = rangeOf(group.rounding)
  const most = wanted.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0)
  const joined = (shared: number): UnitFactor & { error: number } => {
    const number = roundScale(block.rounding, shared)
    let error = 0
    const groups = Float64Array.from(wanted, (own, g) => {
      const value = number === 0 ? 0 : roundScale(group.rounding, own / number)
      error += curvatures[g] * (own - number * value) ** 2
      return value
    })
    return { block: number, groups, error }
  }
  if (most === 0) return joined(0)
  // The largest takes each of the numbers near an end of the range, and between two of them.
  const tried = [lo, hi]
    .filter((end) => end !== 0)
    .flatMap((end) => geometric(0.6, 1, starts).map((share) => joined(most / (share * end))))
  const best = tried.reduce((a, b) => (b.error < a.error ? b : a))
  let [top, bottom] = [0, 0]
  for (const [g, value] of best.groups.entries()) {
    top += curvatures[g] * value * wanted[g]
    bottom += curvatures[g] * value * value
  }
  const better = joined(bottom > 0 ? top / bottom : best.block)
  return better.error < best.error ? better : best
}

/** The least and the greatest number that can be stored, up to a factor. */
export function rangeOf(rounding: ScaleRounding): readonly [number, number] {
  if (rounding.as === 'integer') return [rounding.lo, rounding.hi]
  if (rounding.as === 'listed') return [rounding.values[0], rounding.values[rounding.values.length - 1]]
  return [-1, 1]
}
