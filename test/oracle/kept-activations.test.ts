/** Activations inside of a block may be kept from one group of matrices to the next or computed again: the result is the same. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Plan } from '../../src/config/plan.js'
import { bytesOf } from '../../src/plan/memory.js'
import { openSource } from '../../src/student/source.js'
import { vocabularyMatrices } from '../../src/student/untrained.js'
import { train } from '../../src/train/train.js'
import { tensorData } from '../support/stock.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { writeTrainingModels } from '../support/training-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-kept-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await writeTrainingModels(folder)
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

test('one block at a time', async () => {
  // Large enough that there is a memory which holds what is kept and not the model.
  const model = 'wide.gguf'
  await writeTinyGguf(join(folder, model), { layers: 8, width: 128, heads: 4, feedForward: 512 })
  const source = await openSource(join(folder, model))
  await source.gguf.close()
  const sizes = { batch: 128, calibration: 512, trial: 0 }
  const untrained = new Set(vocabularyMatrices(source).keys())
  const kept = await trained(
    model,
    'wide-kept',
    Math.floor(bytesOf('solving in memory', source, sizes, untrained)) - 1,
  )
  expect(kept.plan).toMatchObject({ inMemory: false, keepsActivations: true })
  const again = await trained(model, 'wide-again', kept.plan.stages[0].bytes - 1)
  expect(again.plan).toMatchObject({ inMemory: false, keepsActivations: false })
  expect(again.data).toEqual(kept.data)
})
