/**
 * Training on the uniform grids of grids.ts: which grid a format has, and the latent values whose rounding gives its codes.
 * With s the stored scale and m the stored minimum of a group,
 *
 *   q = clip(round((w + m) / s), lo, hi)      w' = s * q - m
 *
 * The grid is said once, as the `uniform` of the format; training rounds by it and takes gradients back through it (in
 * optimizer/rounding.ts), in the f32 operations of the dequantizer.
 */
import type { Codes, Factor, Latent, Latents, Range, Uniform } from './format.js'
import { gridOf } from './grids.js'

interface Learned {
  readonly uniform: Uniform
  latents(weights: Float32Array, codes: Codes): Latents
}

/** w = d * q, with one scale per block. */
export const learnScaled = (groupSize: number, range: Range): Learned =>
  learned({ groupSize, range, scale: { block: 'd' } })

/** w = d * q + m, with one scale and one shift per block. */
export const learnShifted = (groupSize: number, range: Range): Learned =>
  learned({ groupSize, range, scale: { block: 'd' }, offset: { block: 'm', sign: 1 } })

/** w = (d * scale) * q, with one small integer scale per group. */
export const learnGrouped = (groupSize: number, range: Range, scaleRange: Range): Learned =>
  learned({ groupSize, range, scale: { block: 'd', group: { field: 'scales', range: scaleRange } } })

/** w = (d * scale) * q - (dmin * min), with a small integer scale and minimum per group. */
export const learnAffine = (groupSize: number, range: Range, scaleRange: Range): Learned =>
  learned({
    groupSize,
    range,
    scale: { block: 'd', group: { field: 'scales', range: scaleRange } },
    offset: { block: 'dmin', group: { field: 'mins', range: scaleRange }, sign: -1 },
  })

/** What trains on a grid: the weights, as `w`, and every stored number besides the codes, by its field. */
function learned(uniform: Uniform): Learned {
  const factors: Factor[] = uniform.offset ? [uniform.scale, uniform.offset] : [uniform.scale]
  return {
    uniform,
    latents(weights, codes) {
      const { scales, mins } = gridOf(uniform, codes)
      const latents: Latents = { w: weightLatent(weights, codes.q, scales, mins, uniform.range) }
      for (const { block } of factors) latents[block] = scaleLatent(codes[block])
      for (const { block, group } of factors)
        if (group) latents[group.field] = integerLatent(codes[group.field], codes[block].length)
      return latents
    },
  }
}

/**
 * The weights, each moved just inside the cell of its code where it lies outside: a quantizer may round by another
 * rule at a boundary, and a weight beyond the end of the grid would get no gradient.
 */
function weightLatent(
  weights: Float32Array,
  q: Float32Array,
  scales: Float32Array,
  mins: Float32Array | undefined,
  [lo, hi]: Range,
): Latent {
  const reach = 0.499
  const groupSize = weights.length / scales.length
  const values = new Float32Array(weights.length)
  for (let i = 0; i < weights.length; i++) {
    const group = Math.floor(i / groupSize)
    const scale = scales[group]
    const min = mins?.[group] ?? 0
    if (scale === 0) {
      values[i] = weights[i]
      continue
    }
    const code = Math.min(hi, Math.max(lo, q[i]))
    const position = (weights[i] + min) / scale
    values[i] = Math.min(code + reach, Math.max(code - reach, position)) * scale - min
    // Where steps are tiny beside the minimum, f32 may carry a weight near the edge of its cell over it.
    if (Math.floor((values[i] + min) / scale + 0.5) !== code) values[i] = code * scale - min
  }
  return { kind: 'weight', values, unit: positive(scales.map(Math.abs)) }
}

const scaleLatent = (d: Float32Array): Latent => ({
  kind: 'scale',
  values: d.slice(),
  unit: positive(d.map(Math.abs)),
})

/** Integer scales; the unit of a block's scales is the largest of them, so that rates are relative as those of d. */
function integerLatent(scales: Float32Array, blocks: number): Latent {
  const perBlock = scales.length / blocks
  const unit = new Float32Array(blocks)
  scales.forEach((s, i) => {
    const block = Math.floor(i / perBlock)
    unit[block] = Math.max(unit[block], Math.abs(s))
  })
  return { kind: 'scale', values: scales.slice(), unit: positive(unit) }
}

/** Replaces zeros by the mean of the others, so that every value can move. */
function positive(unit: Float32Array): Float32Array {
  const used = unit.filter((u) => u > 0)
  const mean = used.length > 0 ? used.reduce((a, b) => a + b, 0) / used.length : 1
  return unit.map((u) => (u > 0 ? u : mean))
}
