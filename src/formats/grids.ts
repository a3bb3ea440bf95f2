/**
 * The grids of ggml's formats, from codes to weights. Several formats share a grid and differ only in how
 * they pack it: two with a scale (and shift) per block, and two with a scale (and minimum) per group, themselves small
 * integers times an f16 of the block.
 *
 *   scaled   w = d * q                                Q2_0, Q4_0, Q5_0, Q8_0, TQ1_0, TQ2_0; Q1_0, IQ4_NL, MXFP4 and NVFP4, whose q are those of a table
 *   shifted  w = d * q + m                            Q4_1, Q5_1
 *   grouped  w = (d * scale) * q                      Q3_K, Q6_K; IQ4_XS, whose q are those of a table
 *   affine   w = (d * scale) * q - (dmin * min)       Q2_K, Q4_K, Q5_K
 *
 * Only the addition or subtraction rounds: an f16 has 11 significant bits, a group's scale at most 7 and a code at most 5 (7 where
 * there are no groups, or where their scales have 5), so the products fit the 24 bits of an f32. Hence the weights equal ggml's bit for bit, whatever
 * its order of operations and whether or not a compiler fused them. (The bits of a NaN, which only an infinite or NaN d
 * makes, are not specified.)
 */
import { QuenchError } from '../errors.js'
import type { Codes, Factor, Format, Grid, GridLayout } from './format.js'
import { scaleProblem } from './stored-scale.js'

/** The grid that the weights of a format lie on: all of its vectors, or those of a codebook. Absent for floats. */
export const layoutOf = ({ grid, vectors }: Pick<Format, 'grid' | 'vectors'>): GridLayout | undefined =>
  grid ?? vectors

/** The scale and the offset, if any. */
export const factorsOf = ({ scale, offset }: GridLayout): readonly Factor[] =>
  offset ? [scale, offset] : [scale]

/** Reports weights whose scales overflow the format. @throws QuenchError */
export function checkScales(format: Pick<Format, 'name' | 'grid' | 'vectors'>, codes: Codes): void {
  const { name } = format
  const grid = layoutOf(format)
  for (const { block } of grid ? factorsOf(grid) : [])
    for (const value of codes[block.field]) {
      const problem = scaleProblem(name, block.rounding, value)
      if (problem !== undefined) throw new QuenchError(`it holds weights that are ${problem}`)
    }
}

/** Weights of {d: one per group, q: blockSize} per block; most blocks are one group. */
export function dequantizeScaled({ d, q }: Codes, groupSize: number): Float32Array {
  const weights = new Float32Array(q.length)
  for (let group = 0, i = 0; group < d.length; group++) {
    const scale = d[group]
    for (const end = i + groupSize; i < end; i++) weights[i] = scale * q[i]
  }
  return weights
}

/** Weights of {d: 1, m: 1, q: blockSize} per block. */
export function dequantizeShifted({ d, m, q }: Codes, blockSize: number): Float32Array {
  const weights = new Float32Array(q.length)
  for (let block = 0, i = 0; block < d.length; block++) {
    const [scale, shift] = [d[block], m[block]]
    for (const end = i + blockSize; i < end; i++) weights[i] = scale * q[i] + shift
  }
  return weights
}

/** Weights of {d: 1, scales: one per group, q: blockSize} per block. */
export function dequantizeGrouped({ d, scales, q }: Codes, groupSize: number): Float32Array {
  const weights = new Float32Array(q.length)
  const groupsPerBlock = scales.length / d.length
  for (let group = 0, i = 0; group < scales.length; group++) {
    const scale = d[Math.floor(group / groupsPerBlock)] * scales[group]
    for (const end = i + groupSize; i < end; i++) weights[i] = scale * q[i]
  }
  return weights
}

/** Weights of {d: 1, dmin: 1, scales and mins: one per group, q: blockSize} per block. */
export function dequantizeAffine({ d, dmin, scales, mins, q }: Codes, groupSize: number): Float32Array {
  const weights = new Float32Array(q.length)
  const groupsPerBlock = scales.length / d.length
  for (let group = 0, i = 0; group < scales.length; group++) {
    const block = Math.floor(group / groupsPerBlock)
    const scale = d[block] * scales[group]
    const min = dmin[block] * mins[group]
    for (const end = i + groupSize; i < end; i++) weights[i] = scale * q[i] - min
  }
  return weights
}

/** The scales and minimums of the groups of `codes`. */
export function gridOf({ levels, scale, offset }: GridLayout, codes: Codes): Grid {
  const scales = factorValues(scale, codes)
  if (!offset) return { scales, levels }
  const mins = factorValues(offset, codes)
  return { scales, levels, mins: offset.sign < 0 ? mins : mins.map((m) => -m) }
}

const factorValues = ({ block, group }: Factor, codes: Codes): Float32Array =>
  group ? groupScales(codes[block.field], codes[group.field]) : codes[block.field]

/** The block's number times the group's, for every group, rounded to f32. */
function groupScales(d: Float32Array, scales: Float32Array): Float32Array {
  const products = new Float32Array(scales.length)
  const perBlock = scales.length / d.length
  for (let block = 0, i = 0; block < d.length; block++)
    for (const end = i + perBlock; i < end; i++) products[i] = d[block] * scales[i]
  return products
}
