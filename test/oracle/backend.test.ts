/**
 * Training knows its backend by its verbs alone: every method gives the same file and the same losses on a backend whose buffers
 * nobody can look into as on the processor.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { methods } from '../../src/config/methods.js'
import type { TrainOptions } from '../../src/config/options.js'
import type { Plan } from '../../src/config/plan.js'
import { bytesOf } from '../../src/plan/memory.js'
import { openSource } from '../../src/student/source.js'
import { train } from '../../src/train/train.js'
import { copyingBackend } from '../support/copying-backend.js'
import { tensorData } from '../support/stock.js'
import { writeTrainingModels } from '../support/training-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-backend-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await writeTrainingModels(folder)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Bytes in which a stage just fits. */
async function memoryFor(
  model: string,
  stage: Parameters<typeof bytesOf>[0],
  { calibration = 512, trial = 960, untrained = [] as readonly string[] } = {},
): Promise<number> {
  const source = await openSource(join(folder, model))
  await source.gguf.close()
  return Math.ceil(bytesOf(stage, source, { batch: 128, calibration, trial }, new Set(untrained))) + 1
}

const deep = { calibration: 128, trial: 384, untrained: ['token_embd.weight', 'output.weight'] }

type Case = [
  name: string,
  model: string,
  options: Partial<TrainOptions>,
  more?: () => Promise<Partial<TrainOptions>>,
  holds?: (plan: Plan) => boolean,
]
const cases: Case[] = [
  ['end to end', 'llama.gguf', { method: 'distill', steps: 3 }],
  ['from the most likely tokens', 'llama.gguf', { method: 'distill', steps: 3, teacherTopK: 8 }],
  ['scales alone', 'llama.gguf', { method: 'scales', steps: 3 }],
  [
    "with Adam's moments on disk",
    'deep.gguf',
    { method: 'distill', steps: 2, embeddings: 'no', calibration: 128 },
    async () => ({ memory: await memoryFor('deep.gguf', 'solving in memory', deep) }),
    ({ momentBytes }) => momentBytes > 0,
  ],
  [
    'one block at a time, hidden states on disk',
    'llama.gguf',
    { method: 'blockwise', validation: 512 },
    async () => ({ memory: await memoryFor('llama.gguf', 'solving one block at a time') }),
    ({ inMemory, spillBytes }) => !inMemory && spillBytes > 0,
  ],
  ['inputs that pass blocks by', 'gemma4.gguf', { method: 'distill', steps: 2 }],
  [
    'inputs that pass blocks by, one block at a time',
    'gemma4.gguf',
    { method: 'blockwise' },
    async () => ({ memory: await memoryFor('gemma4.gguf', 'solving one block at a time') }),
    ({ inMemory }) => !inMemory,
  ],
]

describe('the same on both backends', () => {
  test.each(cases)('%s', async (name, model, options, more = async () => ({}), holds = () => true) => {
    const own = {
      ...{ input: join(folder, model), type: 'Q4_0', data: [join(folder, 'text.txt')] },
      ...{ tokens: 512, context: 64, batch: 128, calibration: 512, validation: 128 },
      ...options,
      ...(await more()),
    }
    const [cpu, other] = [join(folder, `${name}-cpu.gguf`), join(folder, `${name}-other.gguf`)]
    const first = await train({ ...own, output: cpu })
    const second = await train({ ...own, output: other, backend: copyingBackend })
    expect(holds(first.plan)).toBe(true)
    expect(second.stages.map(({ stage, kld }) => [stage, kld])).toEqual(
      first.stages.map(({ stage, kld }) => [stage, kld]),
    )
    expect(first.stages.length).toBeGreaterThan(0)
    expect(await tensorData(other)).toEqual(await tensorData(cpu))
  })
})

test('every method is tried', () => {
  expect(new Set(cases.map(([, , { method }]) => method))).toEqual(new Set(methods))
})

test('a look into a buffer of the second backend, or one of another, is told of', async () => {
  const buffer = copyingBackend.upload(Float32Array.of(1, 2))
  expect(() => (buffer as unknown as Float32Array)[0]).toThrow('only its backend may look into')
  expect(() => copyingBackend.fill(Float32Array.of(1) as never, 0)).toThrow('another backend')
  const copy = await copyingBackend.download(buffer)
  copy[0] = 5
  expect([...(await copyingBackend.download(buffer))]).toEqual([1, 2])
})
