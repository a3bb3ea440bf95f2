/** Runs a format's rounding as training does: latents in, weights and codes out, and gradients of all latents. */
import type { Codes, Format, Latents } from '../../src/formats/format.js'
import { formats } from '../../src/formats/table.js'
import { grad, input } from '../../src/graph/index.js'
import { Program } from '../../src/runtime/program.js'

/** A format that can be trained. */
export type Trainable = Format & Required<Pick<Format, 'latents' | 'fakeQuantize'>>
export const trainable = formats.filter(
  (f): f is Trainable => f.latents !== undefined && f.fakeQuantize !== undefined,
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

/** The programs of a format for a number of blocks. */
export async function fakeQuantizer(format: Trainable, blocks: number): Promise<FakeQuantizer> {
  const latents = Object.fromEntries(
    Object.entries(format.fields).map(([field, perBlock]) => [
      field === 'q' ? 'w' : field,
      input([blocks, perBlock]),
    ]),
  )
  const { weights, codes } = format.fakeQuantize(latents)
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
