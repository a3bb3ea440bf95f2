/** Every recipe of quench trains: what was trained is what the file holds, it is better than PTQ, and libllama runs it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { layoutOf } from '../../src/formats/grids.js'
import { recipes } from '../../src/formats/recipes.js'
import { formatOf } from '../../src/formats/table.js'
import { openGguf } from '../../src/gguf/index.js'
import { summarizeFile } from '../../src/gguf/summary.js'
import { LlamaContext, LlamaModel } from '../../src/llama/index.js'
import { train } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-formats-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await writeTinyGguf(join(folder, 'model.gguf'), { layers: 1, width: 256, heads: 4, feedForward: 256 })
  await writeFile(join(folder, 'text.txt'), wordText(4000))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** One for each format, the first that has it for most tensors. */
const types = Object.keys(recipes).filter((name, i, all) => {
  const { type } = recipes[name]
  const format = formatOf(type)
  return format && layoutOf(format) && all.findIndex((other) => recipes[other].type === type) === i
})

test.each(types)('%s', async (type) => {
  const report = await train({
    ...{ input: join(folder, 'model.gguf'), output: join(folder, `${type}.gguf`), type },
    ...{ data: [join(folder, 'text.txt')], tokens: 1024, context: 64, batch: 128, validation: 512, steps: 4 },
  })
  expect(report.check).toMatchObject({ differing: 0 })
  expect(report.check.weights).toBeGreaterThan(400_000)
  expect(report.written).toBe('qat')
  expect(report.recovered).toBeGreaterThan(0)
  const gguf = await openGguf(report.path)
  expect(gguf.tensor('blk.0.ffn_up.weight').type).toBe(recipes[type].type)
  await gguf.close()
  expect((await summarizeFile(report.path)).type.replace(/_MOE$/, '')).toBe(type)
  const model = await LlamaModel.load(report.path)
  const context = await LlamaContext.create(model, { contextSize: 16 })
  await context.decode(model.tokenize('the sea'))
  expect(context.logits().every(Number.isFinite)).toBe(true)
  context.dispose()
  model.dispose()
})
