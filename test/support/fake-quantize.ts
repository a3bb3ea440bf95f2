/**
 * Rounding as training does it, and the same as a graph with gradients for reference: latents in, weights and codes out, and
 * gradients of all latents.
 */

import { cpu } from '../../src/backends/cpu/cpu.js'
import { latentGrid, roundToGrid, scaleGradients, trainOnGrid } from '../../src/backends/cpu/grid.js'
import type { Codes, Factor, Format, Latents } from '../../src/formats/format.js'
import type { Levels } from '../../src/formats/levels.js'
import type { StoredScale } from '../../src/formats/stored-scale.js'
import { formats } from '../../src/formats/table.js'
import {
  add,
  clip,
  constant,
  div,
  equal,
  grad,
  input,
  less,
  mul,
  reshape,
  round,
  roundToFloat16,
  stopGradient,
  straightThrough,
  sub,
  sum,
  type Tensor,
  toFloat,
  where,
} from '../../src/graph/index.js'
import { devices, hosts } from './device.js'

/** A format that can be trained. */
export type Trainable = Format & Required<Pick<Format, 'latents' | 'grid'>>
export const trainable = formats.filter(
  (f): f is Trainable => f.latents !== undefined && f.grid !== undefined,
)

/** What is said of a grid a second time. */
interface GridRow {
  /** Smallest and largest code, or a table of them all. */
  readonly q: readonly number[]
  /** Whether the smallest and the largest code are all that there are. */
  readonly twoLevels?: true
  /** Smallest and largest scale of groups that share one of a block. */
  readonly scales?: readonly [number, number]
  /** All scales that can be stored, where they are no halves. */
  readonly stored?: readonly number[]
  /** Weights that share a scale. */
  readonly groupSize: number
}

const e2m1 = [-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12]
const e8m0 = Array.from({ length: 255 }, (_, e) => 2 ** (e - 128))
const ue4m3 = Array.from({ length: 127 }, (_, i) => (i < 8 ? i : (8 + (i & 7)) * 2 ** ((i >> 3) - 1)) / 1024)

export const grids: Readonly<Record<string, GridRow>> = {
  Q8_0: { q: [-127, 127], groupSize: 32 },
  Q4_0: { q: [-8, 7], groupSize: 32 },
  Q4_1: { q: [0, 15], groupSize: 32 },
  Q5_0: { q: [-16, 15], groupSize: 32 },
  Q5_1: { q: [0, 31], groupSize: 32 },
  Q2_K: { q: [0, 3], scales: [0, 15], groupSize: 16 },
  Q3_K: { q: [-4, 3], scales: [-32, 31], groupSize: 16 },
  Q4_K: { q: [0, 15], scales: [0, 63], groupSize: 32 },
  Q5_K: { q: [0, 31], scales: [0, 63], groupSize: 32 },
  IQ4_NL: {
    q: [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
    groupSize: 32,
  },
  IQ4_XS: {
    q: [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
    scales: [-32, 31],
    groupSize: 32,
  },
  MXFP4: { q: e2m1, stored: e8m0, groupSize: 32 },
  NVFP4: { q: e2m1, stored: ue4m3, groupSize: 16 },
  Q1_0: { q: [-1, 1], twoLevels: true, groupSize: 128 },
  Q2_0: { q: [-1, 2], groupSize: 64 },
  TQ1_0: { q: [-1, 1], groupSize: 256 },
  TQ2_0: { q: [-1, 1], groupSize: 256 },
  Q6_K: { q: [-32, 31], scales: [-128, 127], groupSize: 16 },
}

export interface FakeQuantizer {
  round(latents: Latents): Promise<{ weights: Float32Array; codes: Codes }>
  /** Gradients of the latents for a gradient of the weights. */
  gradients(latents: Latents, dy: Float32Array): Promise<Record<string, Float32Array>>
}

/** What training runs. */
export const kernelQuantizer = ({ grid: layout }: Trainable): FakeQuantizer => ({
  async round(latents) {
    const { stored, grid } = latentGrid(layout, latents)
    const [weights, q] = [latents.w.values.slice(), latents.w.values.slice()]
    roundToGrid(latents.w.values, grid, weights, q)
    return { weights, codes: { ...stored, q } }
  },
  async gradients(latents, dy) {
    const { stored, grid } = latentGrid(layout, latents)
    const [products, gradients] = [grid.scales.slice(), grid.scales.slice()]
    const w = throughGrid(latents, dy, grid, { products, gradients })
    return { w, ...scaleGradients(layout, latents, stored, { products, gradients }) }
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

/** The level of every value, and 1 where it is not clipped. */
function nearestLevel({ lo, hi, table }: Levels, x: Tensor): { level: Tensor; passes: Tensor } {
  if (!table) {
    const rounded = round(x)
    const level = clip(rounded, lo, hi)
    return { level, passes: toFloat(equal(rounded, level)) }
  }
  const [values, last] = [[...table.values], table.values.length - 1]
  const reaches = (from: number): Tensor => sub(1, toFloat(less(x, from)))
  const middle = (i: number): number => (values[i] + values[i + 1]) / 2
  let level = mul(reaches(middle(0)), values[1] - values[0])
  for (let i = 1; i < last; i++) level = add(level, mul(reaches(middle(i)), values[i + 1] - values[i]))
  return {
    level: add(level, lo),
    passes: mul(reaches(lo - (middle(0) - lo)), sub(1, reaches(hi + (hi - middle(last - 1))))),
  }
}

/** The nearest of ascending numbers, straight-through within their ends: of all, the only one that is reached and whose next is not. */
function nearestListed(x: Tensor, values: Float32Array): Tensor {
  const column = reshape(x, [x.size, 1])
  const row = (numbers: Float32Array): Tensor => constant(numbers, [1, numbers.length])
  const middles = values.slice(1).map((value, i) => value / 2 + values[i] / 2)
  const reached = sub(1, toFloat(less(column, row(Float32Array.of(-Infinity, ...middles)))))
  const left = toFloat(less(column, row(Float32Array.of(...middles, Infinity))))
  const nearest = reshape(sum(mul(mul(reached, left), row(values)), [1]), x.shape)
  const [least, greatest] = [values[0], values[values.length - 1]]
  const inside = mul(sub(1, toFloat(less(x, least))), sub(1, toFloat(less(greatest, x))))
  return straightThrough(stopGradient(nearest), x, inside)
}

/** The rounding of a grid as a graph; latents are (blocks, values per block). */
function roundingGraph(
  { groupSize, levels, scale, offset }: Trainable['grid'],
  latents: Record<string, Tensor>,
): { weights: Tensor; codes: Record<string, Tensor> } {
  const codes: Record<string, Tensor> = {}
  const groups = latents.w.size / groupSize
  const column = ({ block, group }: Factor): Tensor => {
    const rounded = ({ field, rounding }: StoredScale): Tensor =>
      rounding.as === 'half'
        ? roundToFloat16(latents[field])
        : rounding.as === 'listed'
          ? nearestListed(latents[field], rounding.values)
          : clip(round(latents[field]), rounding.lo, rounding.hi)
    codes[block.field] = rounded(block)
    if (!group) return reshape(codes[block.field], [groups, 1])
    codes[group.field] = rounded(group)
    return reshape(mul(codes[block.field], codes[group.field]), [groups, 1])
  }
  const w = reshape(latents.w, [groups, groupSize])
  const s = column(scale)
  // Scales whose inverse is infinite: zero, and the least that MXFP4 has.
  const tiny = 2 ** -127
  const none = equal(mul(toFloat(less(s, tiny)), toFloat(less(-tiny, s))), 1)
  const inverse = where(none, 0, div(1, where(none, 1, s)))
  const m = offset && column(offset)
  const x = !m ? w : offset.sign > 0 ? sub(w, m) : add(w, m)
  const { level, passes } = nearestLevel(levels, mul(x, inverse))
  const q = stopGradient(level)
  const scaled = mul(q, s)
  const value = !m ? scaled : offset.sign > 0 ? add(scaled, m) : sub(scaled, m)
  const weights = straightThrough(value, w, passes)
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
  const { weights, codes } = roundingGraph(format.grid, latents)
  const dy = input(weights.shape)
  const names = Object.keys(latents)
  const d = grad(
    weights,
    names.map((name) => latents[name]),
    dy,
  )
  const forward = await cpu.compile(
    {
      inputs: latents,
      outputs: {
        weights,
        ...Object.fromEntries(Object.entries(codes).map(([name, t]) => [`code ${name}`, t])),
      },
    },
    true,
  )
  const backward = await cpu.compile(
    {
      inputs: { ...latents, dy },
      outputs: Object.fromEntries(names.map((name, i) => [`d ${name}`, d[i]])),
    },
    true,
  )
  const values = (l: Latents): Record<string, Float32Array> =>
    Object.fromEntries(Object.entries(l).map(([name, latent]) => [name, latent.values]))
  const strip = (out: Record<string, Float32Array>, prefix: string): Record<string, Float32Array> =>
    Object.fromEntries(Object.entries(out).map(([name, x]) => [name.slice(prefix.length), x]))
  return {
    async round(l) {
      const { weights, ...rest } = hosts(await forward.run(devices(values(l))))
      return { weights, codes: strip(rest, 'code ') }
    },
    gradients: async (l, dWeights) =>
      strip(hosts(await backward.run(devices({ ...values(l), dy: dWeights }))), 'd '),
  }
}
