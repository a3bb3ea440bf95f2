/**
 * Codes with the least squared error that the bytes of a format allow, as far as a search finds them (unit-search.ts), from those of
 * another quantizer on. No unit of weights that share a scale has a larger error afterwards.
 */
import type { Codes, Factor, Format, GridLayout } from '../../formats/format.js'
import { checkScales } from '../../formats/grids.js'
import type { UnitFactor } from './share.js'
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
  for (let unit = 0, from = 0; from < weights.length; unit++, from += size) {
    search.w.set(weights.subarray(from, from + size))
    if (factors) {
      const own = from % factors.length
      search.h.set(factors.subarray(own, own + size))
    } else search.h.fill(1)
    const before = numbersOf(grid, start, unit, perUnit)
    const own = errorOf(search, before, start.q.subarray(from, from + size))
    const { numbers, error } = search.search(numbersOf(grid, start, unit, perUnit))
    if (error < own) store(search, grid, codes, unit, numbers)
  }
  return codes
}

function numbersOf({ scale, offset }: GridLayout, codes: Codes, unit: number, groups: number): UnitNumbers {
  const factor = ({ block, group }: Factor): UnitFactor => ({
    block: codes[block.field][unit],
    groups: group
      ? Float64Array.from(codes[group.field].subarray(unit * groups, (unit + 1) * groups))
      : new Float64Array(groups).fill(1),
  })
  return {
    scale: factor(scale),
    offset: offset ? factor(offset) : { block: 0, groups: new Float64Array(groups).fill(1) },
  }
}

function store(
  search: UnitSearch,
  { scale, offset, groupSize }: GridLayout,
  codes: Codes,
  unit: number,
  numbers: UnitNumbers,
): void {
  const { groups } = search
  const put = ({ block, group }: Factor, own: UnitFactor): void => {
    codes[block.field][unit] = own.block
    if (group) codes[group.field].set(own.groups, unit * groups)
  }
  put(scale, numbers.scale)
  if (offset) put(offset, numbers.offset)
  for (let g = 0, i = 0; g < groups; g++) {
    const [s, o] = [search.scaleOf(numbers, g), search.offsetOf(numbers, g)]
    for (const end = i + groupSize; i < end; i++)
      codes.q[unit * groups * groupSize + i] = search.code(i, s, o)
  }
}

/** The error of given codes. */
function errorOf(search: UnitSearch, numbers: UnitNumbers, q: Float32Array): number {
  const groupSize = q.length / search.groups
  let error = 0
  for (let i = 0; i < q.length; i++) {
    const g = Math.floor(i / groupSize)
    const r = search.w[i] - search.offsetOf(numbers, g) - search.scaleOf(numbers, g) * q[i]
    error += search.h[i] * r * r
  }
  return error
}
