/**
 * Memory from the header against what libllama holds: every architecture whose graph is known, four types of weights, and
 * contexts that differ in length, parallelism, types of the cache, windows and attention.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { dryMemory } from '../../src/advise/memory/dry.js'
import { estimateMemory } from '../../src/advise/memory/estimate.js'
import { Metadata, openGguf } from '../../src/gguf/index.js'
import {
  compareMemory,
  memoryContexts,
  memoryModels,
  memoryTypes,
  sumOf,
  writeZeros,
} from '../support/memory-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-advise-memory-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Half of the last digit of libllama's log. */
const rounding = 0.005 * 2 ** 20

test.each(memoryModels.map(({ name, write }) => [name, write] as const))('%s', async (name, write) => {
  const source = join(folder, `${name}.gguf`)
  await write(source)
  for (const [t, type] of memoryTypes.entries()) {
    // Every context with two types; the bench has all of them.
    const contexts = memoryContexts.filter((_, i) => (i + t) % 2 === 0)
    const gguf = await openGguf(await writeZeros(source, folder, type))
    await gguf.close()
    for (const { context, estimate, measured, buffers } of await compareMemory(gguf, contexts)) {
      const label = `${type}, ${JSON.stringify(context)}`
      for (const use of ['weights', 'cache', 'compute'] as const) {
        const off = Math.abs(estimate[use] - measured[use])
        expect(off, `${label}: ${use}`).toBeLessThan(0.01 * measured[use] + buffers * rounding)
      }
      expect(sumOf(estimate) + buffers * rounding, label).toBeGreaterThan(0.99 * sumOf(measured))
    }
  }
})

test.each(['gemma4, shared caches', 'qwen3moe'])('%s: the same without loading it', async (name) => {
  const source = join(folder, 'dry.gguf')
  await memoryModels.find((model) => model.name === name)?.write(source)
  const options = { context: 3000, parallel: 2, cacheTypes: { keys: 'q8_0', values: 'f16' } }
  const gguf = await openGguf(source)
  await gguf.close()
  const dry = await dryMemory(source, options)
  const [{ measured }] = await compareMemory(gguf, [options])
  for (const use of ['cache', 'compute'] as const) {
    const bytes = dry.items.reduce((sum, item) => sum + (item.use === use ? item.bytes : 0), 0)
    expect(Math.abs(bytes - measured[use]), use).toBeLessThan(4 * rounding)
  }
  expect(dry.exact).toBe(true)
})

test('a header that is damaged is refused in a sentence', async () => {
  const source = join(folder, 'damaged.gguf')
  await memoryModels[0].write(source)
  const gguf = await openGguf(source)
  await gguf.close()
  const { metadata, tensors } = gguf
  const changed = (key: string, value: number) =>
    new Metadata(source, [...metadata, [key, { type: 'uint32', value }]])
  for (const [key, value] of [
    ['llama.block_count', 2 ** 31],
    ['llama.embedding_length', 0],
    ['llama.attention.key_length', 2 ** 31],
  ] as const)
    expect(() =>
      estimateMemory({ path: source, metadata: changed(key, value), tensors }, { context: 512 }),
    ).toThrow(key)
  const many = changed('llama.expert_count', 2 ** 20)
  expect(() => estimateMemory({ path: source, metadata: many, tensors }, { context: 512 })).toThrow('experts')
  expect(() => estimateMemory({ path: source, metadata, tensors: [] }, { context: 512 })).toThrow(
    'token embedding',
  )
  for (const options of [{ context: 0 }, { context: 512, parallel: 1000 }, { context: 2 ** 31 }])
    expect(() => estimateMemory(gguf, options)).toThrow('whole number')
})
