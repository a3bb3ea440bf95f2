/** The number that the groups of a block share: the factor of their scales, or of their offsets, which are stored as integers. */
import type { Factor } from '../../formats/format.js'
import { roundScale, type ScaleRounding } from '../../formats/stored-scale.js'
import { geometric } from './group-fit.js'

/** The stored numbers of a unit's scales or offsets: one for the block, and one per group (1 where groups have none). */
export interface UnitFactor {
  block: number
  readonly groups: number[]
}

/** Where groups have no numbers of their own. */
export function ones(count: number): number[] {
  const groups: number[] = []
  for (let g = 0; g < count; g++) groups.push(1)
  return groups
}

/** Candidates for the block's number, at each end of the range of the groups' numbers. */
const starts = 24

/**
 * Stored numbers closest to the wanted ones, with a group's error taken as a parabola around its wanted number.
 * @param wanted one per group
 * @param curvatures of the groups' errors
 */
export function shareFactor(
  { block, group }: Factor,
  wanted: readonly number[],
  curvatures: readonly number[],
): UnitFactor {
  if (!group) return { block: roundScale(block.rounding, wanted[0]), groups: [1] }
  const [lo, hi] = rangeOf(group.rounding)
  const most = wanted.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0)
  const joined = (shared: number): UnitFactor & { error: number } => {
    const number = roundScale(block.rounding, shared)
    let error = 0
    const groups = wanted.map((own, g) => {
      const value = number === 0 ? 0 : roundScale(group.rounding, own / number)
      error += curvatures[g] * (own - number * value) ** 2
      return value
    })
    return { block: number, groups, error }
  }
  if (most === 0) return joined(0)
  // The largest number may be stored at either end of the range, or a little inside it.
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

/** The smallest and the largest number that can be stored, up to a common factor. */
export function rangeOf(rounding: ScaleRounding): readonly [number, number] {
  if (rounding.as === 'integer') return [rounding.lo, rounding.hi]
  if (rounding.as === 'listed') return [rounding.values[0], rounding.values[rounding.values.length - 1]]
  return [-1, 1]
}
