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
export const ones = (count: number): number[] => (count === 1 ? [1] : new Array<number>(count).fill(1))

/** The largest number of a group relative to the end of the range, where the block's number is one of the candidates. */
const shares = geometric(0.6, 1, 24)

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
  const best: UnitFactor = { block: 0, groups: ones(wanted.length) }
  const tried = [...best.groups]
  let least: number | undefined
  /** Takes the groups' best numbers for one of the block if their error is the least so far. */
  const take = (shared: number): void => {
    const number = roundScale(block.rounding, shared)
    let error = 0
    for (let g = 0; g < wanted.length; g++) {
      const value = number === 0 ? 0 : roundScale(group.rounding, wanted[g] / number)
      error += curvatures[g] * (wanted[g] - number * value) ** 2
      tried[g] = value
    }
    if (least !== undefined && !(error < least)) return
    least = error
    best.block = number
    for (let g = 0; g < tried.length; g++) best.groups[g] = tried[g]
  }
  const [lo, hi] = rangeOf(group.rounding)
  const most = wanted.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0)
  if (most === 0) take(0)
  // The largest number may be stored at either end of the range, or a little inside it.
  else for (const end of [lo, hi]) if (end !== 0) for (const share of shares) take(most / (share * end))
  let [top, bottom] = [0, 0]
  for (const [g, value] of best.groups.entries()) {
    top += curvatures[g] * value * wanted[g]
    bottom += curvatures[g] * value * value
  }
  if (bottom > 0) take(top / bottom)
  return best
}

/** The smallest and the largest number that can be stored, up to a common factor. */
export function rangeOf(rounding: ScaleRounding): readonly [number, number] {
  if (rounding.as === 'integer') return [rounding.lo, rounding.hi]
  if (rounding.as === 'listed') return [rounding.values[0], rounding.values[rounding.values.length - 1]]
  return [-1, 1]
}
