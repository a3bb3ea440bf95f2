/**
 * Training on the uniform grids of grids.ts: the latent values whose rounding gives a format's codes, and the
 * rounding itself as a graph, in the same order of f32 operations as the dequantizer, so that a trained weight is
 * equal to the dequantized one bit for bit.
 *
 * With s the stored scale and m the stored minimum of a group,
 *
 *   q = clip(round((w + m) / s), lo, hi)      w' = s * q - m
 *
 * Weights: rounding is straight-through, and a weight whose code is clipped gets no gradient (one behind a scale of zero may get
 * some, which changes nothing). Scales: the codes count
 * as constants, so dw'/ds = q and dw'/dm = -1, the gradient of what the file holds (EfficientQAT's second phase, arXiv
 * 2407.11062; that of LSQ, arXiv 1902.08153, was measured to be no better). Stored scales are rounded in the graph too:
 * f16 for d and dmin, small integers for the scales and minimums of the groups.
 */
import {
  add,
  clip,
  div,
  equal,
  mul,
  reshape,
  round,
  roundToFloat16,
  stopGradient,
  straightThrough,
  sub,
  type Tensor,
  toFloat,
  where,
} from '../graph/index.js'
import type { Codes, FakeQuantized, Latent, Latents, Range, Uniform } from './format.js'
import { groupScales } from './grids.js'

interface Learned {
  readonly uniform: Uniform
  latents(weights: Float32Array, codes: Codes): Latents
  fakeQuantize(latents: Record<string, Tensor>): FakeQuantized
}

/** w = d * q, with one scale per block. */
export function learnScaled(groupSize: number, range: Range): Learned {
  return {
    uniform: { groupSize, range, scale: { block: 'd' } },
    latents(weights, { d, q }) {
      return { w: weightLatent(weights, q, d, undefined, range), d: scaleLatent(d) }
    },
    fakeQuantize({ w, d }) {
      const dStored = roundToFloat16(d)
      const { groups, ungroup } = byGroup(w, d)
      const scale = flat(dStored)
      const { q, weights } = onGrid(groups, { scale, range })
      return { weights: ungroup(weights), codes: { d: dStored, q: ungroup(q) } }
    },
  }
}

/** w = d * q + m, with one scale and one shift per block. */
export function learnShifted(groupSize: number, range: Range): Learned {
  const minima = (m: Float32Array): Float32Array => m.map((x) => -x)
  return {
    uniform: { groupSize, range, scale: { block: 'd' }, offset: { block: 'm', sign: 1 } },
    latents(weights, { d, m, q }) {
      return { w: weightLatent(weights, q, d, minima(m), range), d: scaleLatent(d), m: scaleLatent(m) }
    },
    fakeQuantize({ w, d, m }) {
      const dStored = roundToFloat16(d)
      const mStored = roundToFloat16(m)
      const { groups, ungroup } = byGroup(w, d)
      const scale = flat(dStored)
      const shift = flat(mStored)
      const { q, weights } = onGrid(groups, { scale, shift, range })
      return { weights: ungroup(weights), codes: { d: dStored, m: mStored, q: ungroup(q) } }
    },
  }
}

/** w = (d * scale) * q, with one small integer scale per group. */
export function learnGrouped(groupSize: number, range: Range, scaleRange: Range): Learned {
  return {
    uniform: { groupSize, range, scale: { block: 'd', group: { field: 'scales', range: scaleRange } } },
    latents(weights, { d, scales, q }) {
      return {
        w: weightLatent(weights, q, groupScales(d, scales), undefined, range),
        d: scaleLatent(d),
        scales: integerLatent(scales, d.length),
      }
    },
    fakeQuantize({ w, d, scales }) {
      const dStored = roundToFloat16(d)
      const scalesStored = clip(round(scales), ...scaleRange)
      const { groups, ungroup } = byGroup(w, scales)
      const scale = flat(mul(dStored, scalesStored))
      const { q, weights } = onGrid(groups, { scale, range })
      return { weights: ungroup(weights), codes: { d: dStored, scales: scalesStored, q: ungroup(q) } }
    },
  }
}

/** w = (d * scale) * q - (dmin * min), with a small integer scale and minimum per group. */
export function learnAffine(groupSize: number, range: Range, scaleRange: Range): Learned {
  return {
    uniform: {
      groupSize,
      range,
      scale: { block: 'd', group: { field: 'scales', range: scaleRange } },
      offset: { block: 'dmin', group: { field: 'mins', range: scaleRange }, sign: -1 },
    },
    latents(weights, { d, dmin, scales, mins, q }) {
      return {
        w: weightLatent(weights, q, groupScales(d, scales), groupScales(dmin, mins), range),
        d: scaleLatent(d),
        dmin: scaleLatent(dmin),
        scales: integerLatent(scales, d.length),
        mins: integerLatent(mins, d.length),
      }
    },
    fakeQuantize({ w, d, dmin, scales, mins }) {
      const dStored = roundToFloat16(d)
      const dminStored = roundToFloat16(dmin)
      const scalesStored = clip(round(scales), ...scaleRange)
      const minsStored = clip(round(mins), ...scaleRange)
      const { groups, ungroup } = byGroup(w, scales)
      const scale = flat(mul(dStored, scalesStored))
      const min = flat(mul(dminStored, minsStored))
      const { q, weights } = onGrid(groups, { scale, min, range })
      return {
        weights: ungroup(weights),
        codes: { d: dStored, dmin: dminStored, scales: scalesStored, mins: minsStored, q: ungroup(q) },
      }
    },
  }
}

/**
 * Weights w, (groups, groupSize), on the grid of each group: scale * q + shift or scale * q - min, with q an integer of the range
 * and zero where the scale is zero. Scales, shifts and minimums are vectors: as columns of length 1 the same small ops take ten
 * times as long.
 */
function onGrid(
  w: Tensor,
  { scale, shift, min, range: [lo, hi] }: { scale: Tensor; shift?: Tensor; min?: Tensor; range: Range },
): { q: Tensor; weights: Tensor } {
  const each = (x: Tensor): Tensor => reshape(x, [x.size, 1])
  const none = equal(scale, 0)
  const inverse = where(none, 0, div(1, where(none, 1, scale)))
  const offset = shift ?? min
  const column = offset && each(offset)
  const x = column ? (shift ? sub(w, column) : add(w, column)) : w
  const rounded = round(mul(x, each(inverse)))
  const q = stopGradient(clip(rounded, lo, hi))
  const scaled = mul(q, each(scale))
  const value = column ? (shift ? add(scaled, column) : sub(scaled, column)) : scaled
  return { q, weights: straightThrough(value, w, toFloat(equal(rounded, q))) }
}

const flat = (x: Tensor): Tensor => reshape(x, [x.size])

/** (blocks, blockSize) as (groups, groupSize), one row for each of the `scales`, and the way back. */
function byGroup(w: Tensor, scales: Tensor): { groups: Tensor; ungroup: (x: Tensor) => Tensor } {
  return {
    groups: reshape(w, [scales.size, w.size / scales.size]),
    ungroup: (x) => reshape(x, w.shape),
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
