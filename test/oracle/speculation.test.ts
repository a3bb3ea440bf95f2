/** Greedy text with a draft is the text without one; memory is what llama.cpp says. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LlamaContext, LlamaModel, quantizeModel, sampleSequences } from '../../src/llama/index.js'
import { type Draft, writeGreedily } from '../../src/speed/greedy.js'
import { memoryUse } from '../../src/speed/memory.js'

const shipped = fileURLToPath(new URL('../../models/quench-5m-f16.gguf', import.meta.url))
let folder: string
const file = (type: string) => join(folder, `${type}.gguf`)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  for (const type of ['Q8_0', 'Q4_0', 'Q2_K']) await quantizeModel(shipped, file(type), { type })
})
afterAll(() => rm(folder, { recursive: true }))

/** One thread, so that llama.cpp sums attention in one order for one token and for several. */
async function open(path: string) {
  const model = await LlamaModel.load(path)
  const context = await LlamaContext.create(model, { contextSize: 256, threads: 1 })
  return { model, context, close: () => [context, model].map((each) => each.dispose()) }
}

const text = 'The ship had been at sea for three weeks when'

test('the same text with drafts of every kind, for every number of guesses', async () => {
  const target = await open(file('Q8_0'))
  const prompt = target.model.tokenize(text, { addSpecial: true })
  const write = async (draft?: Draft) => {
    target.context.clear()
    draft?.context.clear()
    return writeGreedily(target.context, prompt, { length: 48, ...(draft && { draft }) })
  }
  const plain = await write()
  expect(plain).toMatchObject({ guessed: 0, accepted: 0 })
  expect(plain.tokens).toHaveLength(48)
  const [sampled] = await sampleSequences(target.model, {
    sequences: 1,
    length: prompt.length + 48,
    temperature: 0,
    prompts: [prompt],
    seed: 1,
    threads: 1,
  })
  expect(plain.tokens).toEqual(Array.from(sampled.subarray(prompt.length)))
  for (const path of [file('Q8_0'), file('Q2_K')]) {
    const draft = await open(path)
    for (const guesses of [1, 4, 7]) {
      const drafted = await write({ context: draft.context, guesses })
      expect(drafted.tokens).toEqual(plain.tokens)
      expect(drafted.accepted).toBeLessThanOrEqual(drafted.guessed)
      if (path === file('Q8_0')) expect(drafted.accepted).toBe(drafted.guessed)
      else expect(drafted.accepted).toBeGreaterThan(0)
    }
    draft.close()
  }
  target.close()
})

test("memory is llama.cpp's account", async () => {
  const { model, context, close } = await open(file('Q4_0'))
  const use = memoryUse([...model.buffers, ...context.buffers], context.contextSize, 0)
  const known = context.memory()
  expect(use.weightsBytes).toBeGreaterThan(0.9 * known.modelBytes) // copies in another layout come on top
  expect(Math.abs(use.kvBytes - known.kvBytes)).toBeLessThan(2 ** 20 / 100)
  expect(use.computeBytes).toBeGreaterThan(0)
  expect(model.buffers.every(({ use: kind }) => kind === 'weights')).toBe(true)
  close()
})
