/** Training end to end on tiny models of architectures whose layers differ and read from each other. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LlamaContext, LlamaModel } from '../../src/llama/index.js'
import { Random } from '../../src/random.js'
import { train } from '../../src/train/train.js'
import { type TinyVariant, writeTinyVariant } from '../support/tiny-models.js'

let folder: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-train-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  text = join(folder, 'text.txt')
  const random = new Random(3)
  const words = ['the', 'and', 'of', 'a', 'sea', 'ship', 'whale', 'state', 'union', 'year', 'on', 'in']
  await writeFile(text, Array.from({ length: 3000 }, () => words[random.int(words.length)]).join(' '))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const variants: Record<string, TinyVariant> = {
  qwen2: { architecture: 'qwen2', biases: ['blk.0.attn_q', 'blk.1.attn_k'] },
  qwen3: { architecture: 'qwen3', biases: ['blk.1.attn_v'] },
  smollm3: { architecture: 'smollm3', layers: 4, tied: true },
  gemma3: { architecture: 'gemma3', layers: 3, tied: true, metadata: { 'attention.sliding_window': 16 } },
  gemma4: {
    architecture: 'gemma4',
    layers: 5,
    tied: true,
    gemma4: {
      slides: [true, false, true, true, false],
      perLayer: 32,
      shared: 3,
      keysAsValues: [1],
      scales: { 2: 0.8 },
    },
    metadata: { 'attention.sliding_window': 16 },
  },
}

test.each(Object.keys(variants))('%s', async (name) => {
  const input = join(folder, `${name}.gguf`)
  await writeTinyVariant(input, { width: 64, feedForward: 128, ...variants[name] })
  const options = {
    tokens: 2048,
    context: 64,
    batch: 128,
    steps: 30,
    data: [text],
    validation: 512,
    type: 'Q4_0',
  }
  const report = await train({ input, output: join(folder, `${name}-q4_0.gguf`), ...options })
  expect(report.written).toBe('qat')
  expect(report.recovered).toBeGreaterThan(0.1)
  expect(report.check.differing).toBe(0)
  const model = await LlamaModel.load(report.path)
  const context = await LlamaContext.create(model, { contextSize: 16 })
  await context.decode(model.tokenize('the sea'))
  expect(context.logits().every(Number.isFinite)).toBe(true)
  context.dispose()
  model.dispose()
})
