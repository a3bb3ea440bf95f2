/**
 * The fake quantizer is the exporter: what training rounds is, bit for bit, what libggml reads from the file, and what the same
 * rounding gives as a graph. And training starts from the reference quantizer: before the first step the codes are its codes.
 *
 * Where the scale of a group is zero (the block is zero, or d is too small for an f16), its weights are zero whatever
 * their codes are; libggml may leave any codes there, and they are not compared.
 */
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Codes, GridLayout, Latents } from '../../src/formats/format.js'
import { layoutOf } from '../../src/formats/grids.js'
import { dequantizeRows, quantizeRows } from '../../src/llama/index.js'
import { Random } from '../../src/random.js'
import {
  type FakeQuantizer,
  graphQuantizer,
  grids,
  kernelQuantizer,
  type Trainable,
  trainable,
} from '../support/fake-quantize.js'

const size = 32 * 256

const kinds: Record<string, (random: Random, i: number) => number> = {
  gaussian: (random) => 0.02 * random.normal(),
  'heavy tails': (random) => 0.02 * random.normal() ** 5,
  'tiny 1e-6': (random) => 1e-6 * random.normal(),
  'tiny 1e-7': (random) => 1e-7 * random.normal(),
  'tiny 1e-30': (random) => 1e-30 * random.normal(),
  zeros: () => 0,
  'every second block zero': (random, i) => (i & 256 ? 0 : random.normal()),
  'every third group zero': (random, i) => ((i >> 4) % 3 === 0 ? 0 : random.normal()),
  'one weight a block': (_, i) => (i % 256 === 77 ? -1.5 : 0),
  constant: () => 0.3,
  'negative constant': () => -0.3,
  'nearly constant': (random) => -0.3 + 1e-5 * random.normal(),
  positive: (random) => 1 + random.uniform(),
  large: (random) => 1000 * random.normal(),
  'all sizes': (random) => random.normal() * 10 ** (6 * random.uniform() - 5),
}

/** The weights that differ in any bit, zeros of another sign too. */
function differing(a: Float32Array, b: Float32Array): number {
  return a.reduce((n, x, i) => n + Number(!Object.is(x, b[i])), 0)
}

/** Stored scale of the group of every weight. */
function scaleOf(format: Trainable, { d, scales, q }: Codes, i: number): number {
  const stored = scales ? scales[Math.floor(i / grids[format.name].groupSize)] : 1
  return stored * d[Math.floor((i * d.length) / q.length)]
}

/** Rounds, packs, and compares with libggml and with the graph; gives back the codes. */
async function expectExact(format: Trainable, graph: FakeQuantizer, latents: Latents): Promise<Codes> {
  const { weights, codes } = await kernelQuantizer(format).round(latents)
  const reference = await graph.round(latents)
  expect(differing(weights, reference.weights), 'weights of the graph').toBe(0)
  expect(Object.keys(codes).sort()).toEqual(Object.keys(reference.codes).sort())
  for (const [field, values] of Object.entries(reference.codes))
    expect(differing(values, codes[field]), `codes ${field} of the graph`).toBe(0)
  const bytes = format.encode(codes)
  expect(differing(weights, dequantizeRows(format.type, bytes, weights.length)), 'weights').toBe(0)
  // Packing cuts off what does not fit, so codes that come back the same were in their range.
  for (const [field, values] of Object.entries(format.decode(bytes)))
    expect(differing(values, codes[field]), `codes ${field}`).toBe(0)
  return codes
}

test.each(trainable)('$name has a grid here', ({ name }) => expect(grids).toHaveProperty(name))

describe.each(trainable.map((format) => [format.name, format] as const))('%s', (_, format) => {
  let graph: FakeQuantizer
  beforeAll(async () => {
    graph = await graphQuantizer(format, size / format.blockSize)
  })

  test.each(Object.keys(kinds))('starts from the codes of the reference: %s', async (kind) => {
    const random = new Random(5)
    const weights = Float32Array.from({ length: size }, (_, i) => kinds[kind](random, i))
    const reference = format.decode(quantizeRows(format.type, weights, size))
    const codes = await expectExact(format, graph, format.latents(weights, reference))
    for (const field of Object.keys(reference).filter((name) => name !== 'q'))
      expect(differing(codes[field], reference[field]), field).toBe(0)
    const others = [...codes.q.keys()].filter(
      (i) => codes.q[i] !== reference.q[i] && scaleOf(format, codes, i) !== 0,
    )
    expect(others).toEqual([])
  })

  test('stays what libggml reads after any change of the latents', async () => {
    const change = fc.record({
      seed: fc.integer(),
      kind: fc.constantFrom(...Object.keys(kinds)),
      /** Steps by which weights and scales move, in their units. */
      weight: fc.constantFrom(0.1, 3, 1e4),
      scale: fc.constantFrom(0.01, 0.5, 5),
      /** Share of the scales that become zero. */
      zeros: fc.constantFrom(0, 0.2),
    })
    const property = fc.asyncProperty(change, async ({ seed, kind, weight, scale, zeros }) => {
      const random = new Random(seed)
      const weights = Float32Array.from({ length: size }, (_, i) => kinds[kind](random, i))
      const latents = format.latents(weights, format.decode(quantizeRows(format.type, weights, size)))
      for (const latent of Object.values(latents)) {
        const { values, unit } = latent
        const run = values.length / unit.length
        for (let i = 0; i < values.length; i++) {
          const step = latent.kind === 'weight' ? weight : scale
          values[i] += step * unit[Math.floor(i / run)] * random.normal()
          if (latent.kind === 'scale' && random.uniform() < zeros) values[i] = random.int(2) ? 0 : -0
        }
      }
      await expectExact(format, graph, latents)
    })
    await fc.assert(property, { seed: 1, numRuns: 40 })
  })

  test('scales move by a share of themselves in a step, and those from a list by a fifth of that', () => {
    const random = new Random(3)
    const weights = Float32Array.from({ length: size }, (_, i) => kinds.gaussian(random, i))
    const codes = format.decode(quantizeRows(format.type, weights, size))
    const { block, group } = (layoutOf(format) as GridLayout).scale
    const { values, unit } = format.latents(weights, codes)[block.field]
    const share = !group && block.rounding.as === 'listed' ? 0.2 : 1
    for (const [i, value] of values.entries())
      if (value !== 0) expect(unit[i] / Math.abs(value)).toBeCloseTo(share, 5)
  })

  test('units are positive, so that every latent can move', () => {
    for (const kind of Object.values(kinds)) {
      const random = new Random(9)
      const weights = Float32Array.from({ length: size }, (_, i) => kind(random, i))
      const latents = format.latents(weights, format.decode(quantizeRows(format.type, weights, size)))
      for (const { values, unit } of Object.values(latents)) {
        expect(values.length % unit.length).toBe(0)
        expect(unit.every((u) => u > 0 && Number.isFinite(u))).toBe(true)
      }
    }
  })
})
