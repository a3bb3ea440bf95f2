/**
 * Rounding as training does it, and the same as a graph with gradients for reference: latents in, weights and codes out, and
 * gradients of all latents.
 */

import { Program } from '../../src/backends/program.js'
import type { Codes, Factor, Format, Latents } from '../../src/formats/format.js'
import { formats } from '../../src/formats/table.js'
import {
  add,
  clip,
  div,
  equal,
  grad,
  input,
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
} from '../../src/graph/index.js'
import { latentGrid, roundToGrid, scaleGradients, trainOnGrid } from '../../src/optimizer/rounding.js'

/** A format that can be trained. */
export type Trainable = Format & Required<Pick<Format, 'latents' | 'uniform'>>
export const trainable = formats.filter(
  (f): f is Trainable => f.latents !== undefined && f.uniform !== undefined,
)

/** Smallest and largest code, and of group scales where there are any; `groupSize` weights share a scale. */
export const grids: Readonly<
  Record<string, { q: readonly [number, number]; scales?: readonly [number, number]; groupSize: number }>
> = {
  Q8_0: { q: [-127, 127], groupSize: 32 },
  Q4_0: { q: [-8, 7], groupSize: 32 },
  Q4_1: { q: [0, 15], groupSize: 32 },
  Q5_0: { q: [-16, 15], groupSize: 32 },
  Q5_1: { q: [0, 31], groupSize: 32 },
  Q2_K: { q: [0, 3], scales: [0, 15], groupSize: 16 },
  Q3_K: { q: [-4, 3], scales: [-32, 31], groupSize: 16 },
  Q4_K: { q: [0, 15], scales: [0, 63], groupSize: 32 },
  Q5_K: { q: [0, 31], scales: [0, 63], groupSize: 32 },
  Q6_K: { q: [-32, 31], scales: [-128, 127], groupSize: 16 },
}

export interface FakeQuantizer {
  round(latents: Latents): Promise<{ weights: Float32Array; codes: Codes }>
  /** Gradients of the latents for a gradient of the weights. */
  gradients(latents: Latents, dy: Float32Array): Promise<Record<string, Float32Array>>
}

/** What training runs. */
export const kernelQuantizer = ({ uniform }: Trainable): FakeQuantizer => ({
  async round(latents) {
    const { stored, grid } = latentGrid(uniform, latents)
    const [weights, q] = [latents.w.values.slice(), latents.w.values.slice()]
    roundToGrid(latents.w.values, grid, weights, q)
    return { weights, codes: { ...stored, q } }
  },
  async gradients(latents, dy) {
    const { stored, grid } = latentGrid(uniform, latents)
    const [products, gradients] = [grid.scales.slice(), grid.scales.slice()]
    const w = throughGrid(latents, dy, grid, { products, gradients })
    return { w, ...scaleGradients(uniform, latents, stored, { products, gradients }) }
  },
})

/**
 * The gradient of the weights' latents, which training never has in one place: the first moment after one step of Adam from
 * zero with units of 10 is that.
 */
function throughGrid(
  latents: Latents,
  dy: Float32Array,
  grid: Parameters<typeof trainOnGrid>[2],
  sums: Parameters<typeof trainOnGrid>[3],
): Float32Array {
  const moments = { first: new Float32Array(dy.length), second: new Float32Array(dy.length) }
  const unit = new Float32Array(grid.scales.length).fill(1)
  trainOnGrid(latents.w.values.slice(), dy, grid, sums, {
    ...{ moments, unit, rate: 1, gradientScale: 1, number: 1 },
  })
  return moments.first.map((m) => m / Math.fround(0.1))
}

/** The rounding of a grid as a graph; latents are (blocks, values per block). */
function roundingGraph(
  { groupSize, range: [lo, hi], scale, offset }: Trainable['uniform'],
  latents: Record<string, Tensor>,
): { weights: Tensor; codes: Record<string, Tensor> } {
  const codes: Record<string, Tensor> = {}
  const groups = latents.w.size / groupSize
  const column = ({ block, group }: Factor): Tensor => {
    codes[block] = roundToFloat16(latents[block])
    if (!group) return reshape(codes[block], [groups, 1])
    codes[group.field] = clip(round(latents[group.field]), ...group.range)
    return reshape(mul(codes[block], codes[group.field]), [groups, 1])
  }
  const w = reshape(latents.w, [groups, groupSize])
  const s = column(scale)
  const none = equal(s, 0)
  const inverse = where(none, 0, div(1, where(none, 1, s)))
  const m = offset && column(offset)
  const x = !m ? w : offset.sign > 0 ? sub(w, m) : add(w, m)
  const rounded = round(mul(x, inverse))
  const q = stopGradient(clip(rounded, lo, hi))
  const scaled = mul(q, s)
  const value = !m ? scaled : offset.sign > 0 ? add(scaled, m) : sub(scaled, m)
  const weights = straightThrough(value, w, toFloat(equal(rounded, q)))
  codes.q = reshape(q, latents.w.shape)
  return { weights: reshape(weights, latents.w.shape), codes }
}

/** The programs of a format for a number of blocks. */
export async function graphQuantizer(format: Trainable, blocks: number): Promise<FakeQuantizer> {
  const latents = Object.fromEntries(
    Object.entries(format.fields).map(([field, perBlock]) => [
      field === 'q' ? 'w' : field,
      input([blocks, perBlock]),
    ]),
  )
  const { weights, codes } = roundingGraph(format.uniform, latents)
  const dy = input(weights.shape)
  const names = Object.keys(latents)
  const d = grad(
    weights,
    names.map((name) => latents[name]),
    dy,
  )
  const forward = await Program.compile({
    inputs: latents,
    outputs: {
      weights,
      ...Object.fromEntries(Object.entries(codes).map(([name, t]) => [`code ${name}`, t])),
    },
  })
  const backward = await Program.compile({
    inputs: { ...latents, dy },
    outputs: Object.fromEntries(names.map((name, i) => [`d ${name}`, d[i]])),
  })
  const values = (l: Latents): Record<string, Float32Array> =>
    Object.fromEntries(Object.entries(l).map(([name, latent]) => [name, latent.values]))
  const strip = (out: Record<string, Float32Array>, prefix: string): Record<string, Float32Array> =>
    Object.fromEntries(Object.entries(out).map(([name, x]) => [name.slice(prefix.length), x]))
  return {
    async round(l) {
      const { weights, ...rest } = await forward.run(values(l))
      return { weights, codes: strip(rest, 'code ') }
    },
    gradients: async (l, dWeights) => strip(await backward.run({ ...values(l), dy: dWeights }), 'd '),
  }
}
