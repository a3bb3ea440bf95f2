/**
 * Codes with the least squared error that the bytes of a format allow, as far as a search finds them (unit-search.ts), from those of
 * another quantizer on. No unit of weights that share a scale has a larger error afterwards.
 */
import type { Codes, Factor, Format, GridLayout } from '../../formats/format.js'
import { checkScales } from '../../formats/grids.js'
import { ones, type UnitFactor } from './share.js'
import { type UnitNumbers, UnitSearch } from './unit-search.js'

/** What the search knows of a format. */
export type Searchable = Pick<Format, 'name' | 'grid'>

/**
 * @param start codes of these weights, which are not changed
 * @param weights whole rows of whole blocks
 * @param factors of the squared errors, above 0: of each weight, or of each column; missing: all the same
 * @throws RangeError for a format without a grid, QuenchError for weights that a stored scale cannot hold
 */
export function searchCodes(
  format: Searchable,
  start: Codes,
  weights: Float32Array,
  factors?: Float32Array,
): Codes {
  const { grid } = format
  if (!grid) throw new RangeError(`${format.name} has no grid to search`)
  checkScales(format, start)
  const codes: Codes = Object.fromEntries(Object.entries(start).map(([key, values]) => [key, values.slice()]))
  const groups = weights.length / grid.groupSize
  const perUnit = grid.scale.group ? groups / codes[grid.scale.block.field].length : 1
  const search = new UnitSearch(grid, perUnit)
  const size = perUnit * grid.groupSize
  const { w, h } = search
  h.fill(1)
  for (let unit = 0, from = 0; from < weights.length; unit++, from += size) {
    // Plain loops, since `set` with a change of the type is slow.
    for (let i = 0; i < size; i++) w[i] = weights[from + i]
    if (factors) for (let i = 0, at = from % factors.length; i < size; i++) h[i] = factors[at + i]
    const own = errorOf(search, numbersOf(grid, start, unit, perUnit), start.q, from)
    const { numbers, error } = search.search(numbersOf(grid, start, unit, perUnit))
    if (error < own) store(search, grid, codes, unit, numbers)
  }
  return codes
}

const numbersOf = (
  { scale, offset }: GridLayout,
  codes: Codes,
  unit: number,
  groups: number,
): UnitNumbers => ({
  scale: factorOf(scale, codes, unit, groups),
  offset: offset ? factorOf(offset, codes, unit, groups) : { block: 0, groups: ones(groups) },
})

function factorOf({ block, group }: Factor, codes: Codes, unit: number, count: number): UnitFactor {
  const groups = ones(count)
  if (group) for (let g = 0; g < count; g++) groups[g] = codes[group.field][unit * count + g]
  return { block: codes[block.field][unit], groups }
}

function store(
  search: UnitSearch,
  { scale, offset, groupSize }: GridLayout,
  codes: Codes,
  unit: number,
  numbers: UnitNumbers,
): void {
  const { groups } = search
  storeFactor(scale, codes, unit, numbers.scale)
  if (offset) storeFactor(offset, codes, unit, numbers.offset)
  for (let g = 0, i = 0; g < groups; g++) {
    const [s, o] = [search.scaleOf(numbers, g), search.offsetOf(numbers, g)]
    for (const end = i + groupSize; i < end; i++)
      codes.q[unit * groups * groupSize + i] = search.code(i, s, o)
  }
}

function storeFactor({ block, group }: Factor, codes: Codes, unit: number, own: UnitFactor): void {
  codes[block.field][unit] = own.block
  if (group) codes[group.field].set(own.groups, unit * own.groups.length)
}

/** The error of given codes, those of the unit from `from` on. */
function errorOf(search: UnitSearch, numbers: UnitNumbers, q: Float32Array, from: number): number {
  const { groups, w, h } = search
  const groupSize = w.length / groups
  let error = 0
  for (let g = 0, i = 0; g < groups; g++) {
    const s = search.scaleOf(numbers, g)
    const o = search.offsetOf(numbers, g)
    for (const end = i + groupSize; i < end; i++) {
      const r = w[i] - o - s * q[from + i]
      error += h[i] * r * r
    }
  }
  return error
}
