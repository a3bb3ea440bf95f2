/** Weights that spoil a model are found in every type of float, wherever they stand. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { floatsToHalves } from '../../src/formats/half.js'
import { createGguf, Metadata, openGguf } from '../../src/gguf/index.js'
import { describeWeight, largeWeights, notFinite } from '../../src/models/large-weights.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-weights-'))
})
afterAll(() => rm(folder, { recursive: true }))

const [f32, f16, bf16] = [0, 1, 30]
const encode: Record<number, (values: Float32Array) => ArrayBuffer> = {
  [f32]: (values) => values.slice().buffer,
  [f16]: (values) => floatsToHalves(values).slice().buffer,
  [bf16]: (values) => Uint16Array.from(new Uint32Array(values.slice().buffer), (bits) => bits >>> 16).buffer,
}

async function found(type: number, values: Float32Array) {
  const path = join(folder, 'weights.gguf')
  const tensors = [
    { name: 'small', shape: [3], type },
    { name: 'a.weight', shape: [values.length], type },
  ]
  const writer = await createGguf(path, { metadata: new Metadata(path), tensors })
  await writer.write('small', new Uint8Array(encode[type](Float32Array.of(1, -255, 0))))
  await writer.write('a.weight', new Uint8Array(encode[type](values)))
  await writer.finish()
  const gguf = await openGguf(path)
  const all: [number, number][] = []
  for await (const { index, value } of largeWeights(gguf)) all.push([index, value])
  const problem = await notFinite(gguf)
  await gguf.close()
  return { all, problem }
}

test.each([
  ['F32', f32],
  ['F16', f16],
  ['BF16', bf16],
])('%s', async (_, type) => {
  // More than a piece of 4 MiB, and an odd number.
  const values = new Float32Array(2 ** 21 + 2 ** 20 + 1).fill(-0.5)
  expect(await found(type, values)).toEqual({ all: [], problem: undefined })
  const last = values.length - 1
  const places = {
    0: 256,
    1: -1024,
    1023: Number.POSITIVE_INFINITY,
    [2 ** 21 + 7]: Number.NaN,
    [last]: -4096,
  }
  for (const [index, value] of Object.entries(places)) values[Number(index)] = value
  const { all, problem } = await found(type, values)
  expect(all).toEqual(Object.entries(places).map(([index, value]) => [Number(index), value]))
  expect(problem).toBe("its tensor 'a.weight' has Infinity as weight 1023")
})

test('the others of a block are those beside it', async () => {
  const path = join(folder, 'block.gguf')
  const values = new Float32Array(64).fill(2)
  values[40] = 1000
  values.fill(500, 0, 32)
  const tensors = [{ name: 'w', shape: [64], type: f32 }]
  const writer = await createGguf(path, { metadata: new Metadata(path), tensors })
  await writer.write('w', new Uint8Array(values.buffer))
  await writer.finish()
  const gguf = await openGguf(path)
  const others: number[] = []
  for await (const weight of largeWeights(gguf)) {
    others.push(weight.others())
    expect(describeWeight(weight)).toMatch(/^its tensor 'w' has (500|1000) as weight \d+$/)
  }
  expect(others).toHaveLength(33)
  expect(others[32]).toBe(2)
  expect(others[0]).toBe(500)
  await gguf.close()
})
