/** Every operation of the GPU's backend gives what the processor's gives, and every op of a graph has a kernel there. */
import { afterAll, describe, expect, test } from 'vitest'
import type { Backend, DeviceBuffer, DeviceLatents } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { grad, input } from '../../src/graph/index.js'
import { quantizeRows } from '../../src/llama/index.js'
import { Random } from '../../src/random.js'
import { type Trainable, trainable } from '../support/fake-quantize.js'
import { gaussian } from '../support/gaussian.js'
import { opRows } from '../support/graph-ops.js'
import { missing, webgpu } from '../support/webgpu.js'

afterAll(() => webgpu.dispose())

/** The same on both backends: what is uploaded, and what is read back. */
async function both(
  work: (backend: Backend) => Promise<Record<string, DeviceBuffer>>,
): Promise<Record<string, { wanted: Float32Array; found: Float32Array }>> {
  const [wanted, found] = [await work(cpu), await work(webgpu)]
  const results: Record<string, { wanted: Float32Array; found: Float32Array }> = {}
  for (const name of Object.keys(wanted))
    results[name] = { wanted: await cpu.download(wanted[name]), found: await webgpu.download(found[name]) }
  return results
}

function expectClose(name: string, wanted: Float32Array, found: Float32Array, tolerance: number): void {
  const rms = (x: Iterable<number>): number => Math.hypot(...x) / Math.sqrt(wanted.length)
  const size = rms(wanted)
  const error = rms(wanted.map((value, i) => value - found[i]))
  expect(error, `${name}: error ${error} of ${size}`).toBeLessThanOrEqual(tolerance * size)
}

/** Latents that train: those of a quantizer, moved by as much as rounds some to other codes and clips some. */
function latentsOf(format: Trainable, backend: Backend): DeviceLatents {
  const random = new Random(7)
  const size = 16 * 256
  const weights = gaussian(random, size, 0.05)
  weights.fill(0, 0, 256)
  const latents = format.latents(weights, format.decode(quantizeRows(format.type, weights, 256)))
  return Object.fromEntries(
    Object.entries(latents).map(([key, { kind, values, unit }]) => {
      const run = values.length / unit.length
      const moved = values.map((value, i) => value + 0.4 * unit[Math.floor(i / run)] * random.normal())
      return [key, { kind, values: backend.upload(moved), unit: backend.upload(unit) }]
    }),
  )
}

describe.skipIf(missing)('on the GPU', () => {
  describe.each(trainable.map((format) => [format.name, format] as const))('%s', (_, format) => {
    test('scales, codes and weights are the same bit for bit', async () => {
      const results = await both(async (backend) => {
        const latents = latentsOf(format, backend)
        const { stored, grid } = backend.latentGrid(format.grid, latents)
        const { length } = latents.w.values
        const [weights, codes, again] = [length, length, length].map((n) => backend.zeros(n))
        backend.roundToGrid(latents.w.values, grid, weights, codes)
        backend.weightsOf(codes, grid, again)
        return {
          ...stored,
          scales: grid.scales,
          ...(grid.mins && { mins: grid.mins }),
          weights,
          codes,
          again,
        }
      })
      for (const [name, { wanted, found }] of Object.entries(results)) expect(found, name).toEqual(wanted)
    })

    test('gradients and steps', async () => {
      const results = await both(async (backend) => {
        const latents = latentsOf(format, backend)
        const { length } = latents.w.values
        const { stored, grid } = backend.latentGrid(format.grid, latents)
        const groups = grid.scales.length
        const sums = { products: backend.zeros(groups), gradients: backend.zeros(groups) }
        const gradient = backend.upload(gaussian(new Random(3), length, 1e-4))
        const moments = { first: backend.zeros(length), second: backend.zeros(length) }
        const { values, unit } = latents.w
        for (const number of [1, 2])
          backend.trainOnGrid(values, gradient, grid, sums, {
            ...{ moments, unit, rate: 0.01, gradientScale: 0.5, number },
          })
        const alone = { products: backend.zeros(groups), gradients: backend.zeros(groups) }
        backend.trainOnGrid(values, gradient, grid, alone)
        const gradients = backend.scaleGradients(format.grid, latents, stored, sums)
        for (const [field, d] of Object.entries(gradients)) {
          const own = { first: backend.zeros(d.length), second: backend.zeros(d.length) }
          const latent = latents[field]
          const step = { rate: 0.01, gradientScale: 0.5, number: 1 }
          backend.adam(latent.values, d, own, latent.unit, step)
        }
        const named = (prefix: string, buffers: Readonly<Record<string, DeviceBuffer>>) =>
          Object.fromEntries(Object.entries(buffers).map(([name, buffer]) => [prefix + name, buffer]))
        return {
          ...named('sum of ', sums),
          ...named('sum alone of ', alone),
          ...named('moment ', { ...moments }),
          ...named('d ', gradients),
          ...named(
            'moved ',
            Object.fromEntries(Object.entries(latents).map(([field, latent]) => [field, latent.values])),
          ),
        }
      })
      for (const [name, { wanted, found }] of Object.entries(results)) expectClose(name, wanted, found, 2e-6)
    })
  })

  test('buffers', async () => {
    const results = await both(async (backend) => {
      const random = new Random(1)
      const table = backend.upload(gaussian(random, 30))
      const tokens = Int32Array.of(4, 1, 4, 9, 1, 4)
      const rows = backend.gatherRows(table, tokens, 3)
      const counted = backend.upload(gaussian(random, 30))
      backend.scatterAddRows(counted, tokens, rows)
      const whole = backend.zeros(40)
      backend.copy(backend.view(whole, 3, 33), counted)
      backend.add(backend.view(whole, 0, 10), backend.view(counted, 20, 30))
      backend.fill(backend.view(whole, 35, 38), 2.5)
      const other = backend.zeros(40)
      backend.add(other, whole)
      backend.write(backend.view(other, 30, 34), Float32Array.of(1, 2, 3, 4))
      return { rows, counted, whole, other, part: backend.view(other, 7, 36), none: backend.zeros(5) }
    })
    for (const [name, { wanted, found }] of Object.entries(results)) expectClose(name, wanted, found, 1e-6)
    expect(() => webgpu.gatherRows(webgpu.zeros(6), Int32Array.of(3), 2)).toThrow('no row for token 3')
    expect(() => webgpu.copy(webgpu.zeros(6), webgpu.zeros(5))).toThrow('5 values for 6')
    expect(() => webgpu.fill(cpu.zeros(1), 0)).toThrow('another backend')
  })

  test('sums of squares', async () => {
    const random = new Random(5)
    const arrays = [1, 1000, 64 * 1024, 3 * 1021 * 7].map((n) => gaussian(random, n))
    const [wanted, found] = [
      await cpu.sumOfSquares(arrays.map((x) => cpu.upload(x))),
      await webgpu.sumOfSquares(arrays.map((x) => webgpu.upload(x))),
    ]
    expect(Math.abs(found / wanted - 1)).toBeLessThan(1e-6)
  })

  // Rounding to halves by a cast needs a feature that many devices lack; nothing that trains casts.
  const rows = opRows.filter(({ op }) => op !== 'roundToFloat16')
  test.each(rows.map((row) => [row.note ? `${row.op}, ${row.note}` : row.op, row] as const))(
    'op %s',
    async (_, row) => {
      const inputs = row.inputs.map((shape) => input(shape))
      const y = row.build(...inputs)
      const outputs = row.gradient === 'none' ? [y] : [y, ...grad(y, inputs, input(y.shape))]
      const dy = input(row.shape)
      const all = row.gradient === 'none' ? outputs : [y, ...grad(y, inputs, dy)]
      const named = (tensors: typeof inputs, prefix: string) =>
        Object.fromEntries(tensors.map((x, i) => [`${prefix}${i}`, x]))
      const random = new Random(2)
      const values = [...inputs, dy].map(({ size }) =>
        gaussian(random, size).map((x) => (row.positive ? 0.5 + Math.abs(x) : x)),
      )
      const results = await both(async (backend) => {
        const graph = { inputs: { ...named(inputs, 'x'), dy }, outputs: named(all, 'y') }
        const program = await backend.compile(graph, true)
        const fed = Object.fromEntries(inputs.map((_x, i) => [`x${i}`, backend.upload(values[i])]))
        const out = await program.run({ ...fed, dy: backend.upload(values[inputs.length]) })
        await program.dispose()
        return out
      })
      for (const [name, { wanted, found }] of Object.entries(results)) expectClose(name, wanted, found, 1e-5)
    },
  )
})
