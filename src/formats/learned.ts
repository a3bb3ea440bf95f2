/**
 * Training on the grids of grids.ts: the grid of a format, and latent values that round to its codes.
 * With s the stored scale and m the stored minimum of a group,
 *
 *   q = the level nearest to (w + m) / s      w' = s * q - m
 *
 * The grid is defined once, as the `grid` of the format; training rounds to it and backpropagates through it (in
 * backends/cpu/grid.ts), with the f32 operations of the dequantizer.
 */
import type { Codes, Grid, GridLayout, Latent, Latents } from './format.js'
import { factorsOf, gridOf } from './grids.js'
import { halfGaps, integers, type Levels, meanGap, nearest } from './levels.js'
import type { ScaleRounding, StoredScale } from './stored-scale.js'

type Range = readonly [lo: number, hi: number]

interface Learned {
  readonly grid: GridLayout
  latents(weights: Float32Array, codes: Codes): Latents
}

const half = (field: string): StoredScale => ({ field, rounding: { as: 'half' } })
const integer = (field: string, [lo, hi]: Range): StoredScale => ({
  field,
  rounding: { as: 'integer', lo, hi },
})

/** w = d * q, with one scale per group of weights, which is a block of most formats. */
export const learnScaled = (
  groupSize: number,
  levels: Range | Levels,
  rounding: ScaleRounding = { as: 'half' },
): Learned => learned({ groupSize, levels: toLevels(levels), scale: { block: { field: 'd', rounding } } })

/** w = d * q + m, with one scale and one shift per block. */
export const learnShifted = (groupSize: number, levels: Range): Learned =>
  learned({
    groupSize,
    levels: toLevels(levels),
    scale: { block: half('d') },
    offset: { block: half('m'), sign: 1 },
  })

/** w = (d * scale) * q, with one small integer scale per group. */
export const learnGrouped = (groupSize: number, levels: Range | Levels, scales: Range): Learned =>
  learned({
    groupSize,
    levels: toLevels(levels),
    scale: { block: half('d'), group: integer('scales', scales) },
  })

/** w = (d * scale) * q - (dmin * min), with a small integer scale and minimum per group. */
export const learnAffine = (groupSize: number, levels: Range, scales: Range): Learned =>
  learned({
    groupSize,
    levels: toLevels(levels),
    scale: { block: half('d'), group: integer('scales', scales) },
    offset: { block: half('dmin'), group: integer('mins', scales), sign: -1 },
  })

const toLevels = (levels: Range | Levels): Levels => ('lo' in levels ? levels : integers(...levels))

/** Codes that stay, as the weights' latents, and every other stored number, by its field. */
export function codeLatents(grid: GridLayout, codes: Codes): Latents {
  const groups = codes.q.length / grid.groupSize
  const w: Latent = { kind: 'weight', values: codes.q.slice(), unit: new Float32Array(groups).fill(1) }
  return { w, ...scaleLatents(grid, codes) }
}

/** The trainable values of a grid: the weights, as `w`, and every stored number except the codes, by its field. */
function learned(grid: GridLayout): Learned {
  return {
    grid,
    latents: (weights, codes) => ({
      w: weightLatent(weights, codes.q, gridOf(grid, codes)),
      ...scaleLatents(grid, codes),
    }),
  }
}

function scaleLatents(grid: GridLayout, codes: Codes): Latents {
  const factors = factorsOf(grid)
  const latents: Latents = {}
  for (const { block } of factors) latents[block.field] = scaleLatent(codes[block.field], block.rounding)
  for (const { block, group } of factors)
    if (group) latents[group.field] = integerLatent(codes[group.field], codes[block.field].length)
  return latents
}

/** Largest distance of a weight from its level, as a share of the distance to the cell's edge. */
const reach = 0.998

/**
 * The weights; those outside of the cell of their code are moved just inside. A quantizer may round differently at a
 * boundary, and a weight beyond the end of the grid would get no gradient.
 */
function weightLatent(weights: Float32Array, q: Float32Array, { scales, mins, levels }: Grid): Latent {
  const groupSize = weights.length / scales.length
  const values = new Float32Array(weights.length)
  const { lo, hi } = levels
  const { froms, tos } = cellsOf(levels)
  for (let group = 0, i = 0; group < scales.length; group++) {
    const scale = scales[group]
    const min = mins ? mins[group] : 0
    const end = i + groupSize
    if (scale === 0) {
      for (; i < end; i++) values[i] = weights[i]
      continue
    }
    for (; i < end; i++) {
      const code = Math.min(hi, Math.max(lo, q[i]))
      const position = (weights[i] + min) / scale
      values[i] = Math.min(tos[code - lo], Math.max(froms[code - lo], position)) * scale - min
      // If steps are tiny relative to the minimum, f32 rounding may push a weight near the edge of its cell over it.
      if (nearestUnclipped(levels, (values[i] + min) / scale) !== code) values[i] = code * scale - min
    }
  }
  const gap = meanGap(levels)
  return { kind: 'weight', values, unit: positive(scales.map((scale) => Math.abs(gap * scale))) }
}

/** The interval in which a weight of each code may lie, by code minus the smallest code. */
function cellsOf(levels: Levels): { froms: Float64Array; tos: Float64Array } {
  const { lo, hi, table } = levels
  const [froms, tos] = [new Float64Array(hi - lo + 1), new Float64Array(hi - lo + 1)]
  for (const code of table?.values ?? froms.map((_, i) => lo + i)) {
    const { below, above } = halfGaps(levels, code)
    froms[code - lo] = code - reach * below
    tos[code - lo] = code + reach * above
  }
  return { froms, tos }
}

/** Without clipping: integers continue beyond the ends. */
const nearestUnclipped = (levels: Levels, x: number): number =>
  levels.table ? nearest(levels, x) : Math.floor(x + 0.5)

/** A listed scale moves more slowly: the next one is so far away, an eighth or twice itself, that its whole group is rounded anew (LOG.md). */
const unitOfListed = 0.2

function scaleLatent(d: Float32Array, { as }: ScaleRounding): Latent {
  const share = as === 'listed' ? unitOfListed : 1
  return { kind: 'scale', values: d.slice(), unit: positive(d.map((value) => share * Math.abs(value))) }
}

/** Integer scales. The unit of a block's scales is the largest of them, so that rates are relative, as for d. */
function integerLatent(scales: Float32Array, blocks: number): Latent {
  const perBlock = scales.length / blocks
  const unit = new Float32Array(blocks)
  for (let block = 0, i = 0; block < blocks; block++)
    for (const end = i + perBlock; i < end; i++) unit[block] = Math.max(unit[block], Math.abs(scales[i]))
  return { kind: 'scale', values: scales.slice(), unit: positive(unit) }
}

/** Replaces zeros by the mean of the others, so that every value can move. */
function positive(unit: Float32Array): Float32Array {
  let [sum, used] = [0, 0]
  for (const value of unit)
    if (value > 0) {
      sum += value
      used++
    }
  if (used === unit.length) return unit
  const mean = used > 0 ? sum / used : 1
  return unit.map((value) => (value > 0 ? value : mean))
}
