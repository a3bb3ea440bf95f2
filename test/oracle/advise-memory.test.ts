/**
 * Memory from the header against what libllama holds: every architecture whose graph is known, four types of weights, and
 * contexts that differ in length, parallelism, types of the cache, windows and attention.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openGguf } from '../../src/gguf/index.js'
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
