/**
 * Gradients of the learned formats against their formulas in plain JavaScript and against those of a graph. With s and m the stored scale and minimum
 * of a group and q the code of a weight:
 *
 *   dL/dw = dL/dw' where the code was not clipped, else 0
 *   dL/ds = sum of dL/dw' q
 *   dL/dm = sum of -dL/dw'
 *
 * s is d times the rounded scale of the group, so d gets the sum of dL/ds scale, and the scale dL/ds d unless it was
 * clipped itself; and so for m (or for its negative, where a block stores what is added). Where s is zero, or so small that 1 / s is
 * infinite, the codes are those of zero whatever the weights are, so that their gradient does not matter.
 */
import { describe, expect, test } from 'vitest'
import type { Codes, Latents } from '../../src/formats/format.js'
import { quantizeRows } from '../../src/llama/index.js'
import { Random } from '../../src/random.js'
import {
  graphQuantizer,
  grids,
  kernelQuantizer,
  type Trainable,
  trainable,
} from '../support/fake-quantize.js'
import { gaussian } from '../support/gaussian.js'

const size = 8 * 256

/** What the gradient rules give, from the latents and the stored codes; not a number where it does not matter. */
function expected(
  format: Trainable,
  latents: Latents,
  codes: Codes,
  dy: Float32Array,
): Record<string, Float64Array> {
  const { q: range, twoLevels, scales: scaleRange, stored, groupSize } = grids[format.name]
  const out = Object.fromEntries(
    Object.entries(latents).map(([name, { values }]) => [name, new Float64Array(values.length)]),
  )
  // An end of a table reaches beyond it as far as to the middle between it and its neighbour.
  const [first, second, before, last] = [range[0], range[1], range[range.length - 2], range[range.length - 1]]
  const reach =
    range.length > 2 || twoLevels
      ? [first - (second - first) / 2, last + (last - before) / 2]
      : [first - 0.5, last + 0.5]
  const groupsPerScale = format.blockSize / groupSize / format.fields.d
  const unclipped = (name: string, group: number): number => {
    const rounded = Math.floor(latents[name].values[group] + 0.5)
    return scaleRange && rounded >= scaleRange[0] && rounded <= scaleRange[1] ? 1 : 0
  }
  for (let group = 0; group < size / groupSize; group++) {
    const block = Math.floor(group / groupsPerScale)
    const s = codes.d[block] * (codes.scales?.[group] ?? 1)
    const m = codes.dmin ? codes.dmin[block] * codes.mins[group] : codes.m ? -codes.m[block] : 0
    const none = !Number.isFinite(Math.fround(1 / s))
    let ds = 0
    let dm = 0
    for (let i = group * groupSize; i < (group + 1) * groupSize; i++) {
      // In f32, as the graph does, so that the same weights count as clipped.
      const x = none ? 0 : Math.fround(Math.fround(latents.w.values[i] + m) * Math.fround(1 / s))
      const inside = x >= reach[0] && x < reach[1]
      out.w[i] = none ? Number.NaN : inside ? dy[i] : 0
      ds += dy[i] * codes.q[i]
      dm -= dy[i]
    }
    const d = latents.d.values[block]
    if (!stored || (d >= stored[0] && d <= stored[stored.length - 1]))
      out.d[block] += ds * (codes.scales?.[group] ?? 1)
    if (codes.scales) out.scales[group] = ds * codes.d[block] * unclipped('scales', group)
    if (codes.m) out.m[block] -= dm
    if (codes.dmin) {
      out.dmin[block] += dm * codes.mins[group]
      out.mins[group] = dm * codes.dmin[block] * unclipped('mins', group)
    }
  }
  return out
}

describe.each(trainable.map((format) => [format.name, format] as const))('%s', (_, format) => {
  test.each([
    ['as they start', 0, 0],
    ['with many weights and scales clipped', 4, 0.8],
    ['with zero scales', 1, 0],
  ])('gradients %s', async (name, weightSteps, scaleSteps) => {
    const random = new Random(11)
    const weights = gaussian(random, size, 0.3)
    const latents = format.latents(weights, format.decode(quantizeRows(format.type, weights, size)))
    for (const latent of Object.values(latents)) {
      const { values, unit } = latent
      const steps = latent.kind === 'weight' ? weightSteps : scaleSteps
      for (let i = 0; i < values.length; i++) {
        values[i] += steps * unit[Math.floor((i * unit.length) / values.length)] * random.normal()
        if (latent.kind === 'scale' && name === 'with zero scales' && i % 3 === 0) values[i] = 0
      }
    }
    const training = kernelQuantizer(format)
    const { codes } = await training.round(latents)
    const dy = gaussian(random, size)
    const actual = await training.gradients(latents, dy)
    const graph = await (await graphQuantizer(format, size / format.blockSize)).gradients(latents, dy)
    const wanted = expected(format, latents, codes, dy)
    expect(Object.keys(actual).sort()).toEqual(Object.keys(wanted).sort())
    for (const [field, values] of Object.entries(wanted)) {
      const errors = values.map((v, i) => Math.abs(v - actual[field][i]))
      const greatest = (x: Float64Array): number => x.reduce((most, v) => (v > most ? v : most), 0) // not NaN
      const largest = Math.max(greatest(values.map(Math.abs)), 1e-6)
      const worst = greatest(errors)
      const apart = greatest(Float64Array.from(graph[field], (v, i) => Math.abs(v - actual[field][i])))
      expect(apart / largest, `${field} of the graph`).toBeLessThan(3e-6)
      expect(actual[field].every(Number.isFinite), field).toBe(true)
      expect(worst / largest, field).toBeLessThan(3e-5)
    }
    if (weightSteps === 4) expect(actual.w.filter((d) => d === 0).length).toBeGreaterThan(0)
  })
})
