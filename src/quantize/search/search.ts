/**
 * Codes with the least squared error that the bytes of a format allow, as far as a search finds them (unit-search.ts), from those of
 * another quantizer on. No unit of weights that share a scale has a larger error afterwards.
 */
import type { Codes, Factor, Format, GridLayout } from '../../formats/format.js'
import { checkScales } from '../../formats/grids.js'
import { inFit, mostAtOnce } from './fit.js'
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
  const most = Math.floor(mostAtOnce / size) * size
  for (let unit = 0, from = 0; from < weights.length; from += most) {
    const to = Math.min(weights.length, from + most)
    enter(weights, start.q, factors, from, to)
    for (let at = 0; at < to - from; at += size, unit++) {
      search.load(at)
      const begin = numbersOf(grid, start, unit, perUnit)
      const own = search.errorOfCodes(begin, at)
      const { numbers, error } = search.search(begin)
      if (!(error < own)) continue
      storeFactor(grid.scale, codes, unit, numbers.scale)
      if (grid.offset) storeFactor(grid.offset, codes, unit, numbers.offset)
      search.encode(numbers, at)
    }
    codes.q.set(inFit.codes.subarray(0, to - from), from)
  }
  return codes
}

/** Copies weights, their codes and factors to the kernel's memory. */
function enter(
  weights: Float32Array,
  q: Float32Array,
  factors: Float32Array | undefined,
  from: number,
  to: number,
): void {
  inFit.weights.set(weights.subarray(from, to))
  inFit.codes.set(q.subarray(from, to))
  if (!factors) inFit.factors.fill(1)
  else
    for (let at = from; at < to; ) {
      const first = at % factors.length
      const own = factors.subarray(first, Math.min(factors.length, first + to - at))
      inFit.factors.set(own, at - from)
      at += own.length
    }
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

function storeFactor({ block, group }: Factor, codes: Codes, unit: number, own: UnitFactor): void {
  codes[block.field][unit] = own.block
  if (group) codes[group.field].set(own.groups, unit * own.groups.length)
}
