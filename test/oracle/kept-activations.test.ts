/** Activations inside of a block may be kept from one group of matrices to the next or computed again: the result is the same. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Plan } from '../../src/config/plan.js'
import { train } from '../../src/train/train.js'
import { tensorData } from '../support/stock.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { writeTinyVariant } from '../support/tiny-models.js'
import { wordText } from '../support/word-text.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-kept-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await writeFile(join(folder, 'text.txt'), wordText(4000))
  await writeTinyGguf(join(folder, 'llama.gguf'), { layers: 2, width: 64, heads: 2, feedForward: 96 })
  await writeTinyGguf(join(folder, 'deep.gguf'), { layers: 8, width: 64, heads: 2, feedForward: 256 })
  await writeTinyVariant(join(folder, 'gemma4.gguf'), {
    architecture: 'gemma4',
    layers: 4,
    headWidth: 32,
    gemma4: { slides: [true, false, true, false], headWidthSliding: 16, perLayer: 32, shared: 2 },
  })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function trained(model: string, name: string, memory?: number): Promise<{ plan: Plan; data: unknown }> {
  const output = join(folder, `${name}.gguf`)
  const { plan } = await train({
    ...{ input: join(folder, model), output, type: 'Q4_0', data: [join(folder, 'text.txt')] },
    ...{ tokens: 512, context: 64, batch: 128, calibration: 512, validation: 128, method: 'blockwise' },
    ...(memory !== undefined && { memory }),
  })
  return { plan, data: await tensorData(output) }
}

test.each(['llama.gguf', 'gemma4.gguf'])('in memory, %s', async (model) => {
  const kept = await trained(model, `${model}-kept`)
  expect(kept.plan).toMatchObject({ inMemory: true, keepsActivations: true })
  const again = await trained(model, `${model}-again`, kept.plan.stages[0].bytes - 1)
  expect(again.plan).toMatchObject({ inMemory: true, keepsActivations: false })
  expect(again.data).toEqual(kept.data)
})
