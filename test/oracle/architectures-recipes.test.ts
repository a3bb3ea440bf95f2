/**
 * Recipes on whole models against llama_model_quantize: the type of every tensor where layers differ, where embeddings are
 * tied and where rows are too short for blocks of 256; and that training starts from the very bytes of the fall-back types.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { recipes } from '../../src/formats/recipes.js'
import { formatOf } from '../../src/formats/table.js'
import { ggmlTypes, openGguf } from '../../src/gguf/index.js'
import { FILE_TYPES, planModel, quantizeModel } from '../../src/llama/index.js'
import { needsMatrix } from '../../src/quantize/needs-importance.js'
import { type Source, targetTypes } from '../../src/student/source.js'
import { train } from '../../src/train/train.js'
import { opponentData, tensorData } from '../support/stock.js'
import { type TinyVariant, writeTinyVariant } from '../support/tiny-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-recipes-'))
})
afterAll(() => rm(folder, { recursive: true }))

const wide = { width: 256, feedForward: 256, headWidth: 64 }
const gemma4 = {
  architecture: 'gemma4',
  layers: 8,
  gemma4: {
    slides: [true, true, true, false, true, true, true, false],
    headsKV: [2, 2, 2, 1, 2, 2, 2, 1],
    headWidthSliding: 64,
    perLayer: 32,
    shared: 4,
    keysAsValues: [3],
    scales: { 0: 0.5 },
  },
} as const
const variants: Record<string, TinyVariant> = {
  'qwen2, tied': { ...wide, architecture: 'qwen2', layers: 3, tied: true, biases: ['blk.0.attn_q'] },
  'qwen3, one head of keys': { ...wide, architecture: 'qwen3', layers: 9, headsKV: 1 },
  'smollm3, tied': { ...wide, architecture: 'smollm3', layers: 4, tied: true },
  'gemma3, tied, rows of 64': { architecture: 'gemma3', layers: 6, tied: true, headsKV: 1 },
  'gemma3, rows of 256 and of 96': { ...wide, feedForward: 96, architecture: 'gemma3', layers: 4 },
  'gemma4, tied': { ...wide, ...gemma4, tied: true },
  'gemma4, output of its own, rows of 64': { ...gemma4, headWidth: 64 },
}

const namesOf = (tensors: readonly { name: string; type: number }[]) =>
  Object.fromEntries(tensors.map(({ name, type }) => [name, ggmlTypes.get(type)?.name]))

async function fileTypes(path: string): Promise<Record<string, string | undefined>> {
  const gguf = await openGguf(path)
  await gguf.close()
  return namesOf(gguf.tensors)
}

test.each(Object.keys(variants))('%s', async (name) => {
  const [input, output] = [join(folder, 'model.gguf'), join(folder, 'quantized.gguf')]
  await writeTinyVariant(input, variants[name])
  const source = await openGguf(input)
  const matrices = source.tensors.filter(({ shape }) => shape.length > 1)
  const equal = new Map(matrices.map(({ name, shape }) => [name, new Float32Array(shape[0]).fill(1)]))
  for (const recipe of Object.keys(recipes).filter((type) => Object.hasOwn(FILE_TYPES, type))) {
    const types = (): Map<string, number> => targetTypes({ gguf: source } as Source, { type: recipe })
    const options = { type: recipe, threads: 1, ...(needsMatrix(recipe) && { importance: equal }) }
    // ggml takes seconds to quantize anything to a codebook, so these are planned only.
    const made = formatOf(recipes[recipe].type)?.vectors
      ? planModel(input, options).then(namesOf)
      : quantizeModel(input, output, options).then(() => fileTypes(output))
    const found = await made.catch((error: Error) => error.message)
    if (typeof found === 'string') {
      expect(found, recipe).toContain('no tensor type fallback is defined')
      expect(types).toThrow('has no type in its place')
      continue
    }
    expect(namesOf(Array.from(types(), ([name, type]) => ({ name, type }))), recipe).toEqual(found)
  }
  await source.close()
})

describe('training of rows of 64', () => {
  const input = (): string => join(folder, 'narrow.gguf')
  const text = (): string => join(folder, 'text.txt')
  beforeAll(async () => {
    await writeTinyVariant(input(), { architecture: 'gemma3', tied: true, layers: 3 })
    await writeFile(text(), 'the whale and the sea of the ship '.repeat(400))
  })

  test.each([
    ['Q4_K_M', ['Q5_0', 'Q8_0']],
    ['Q5_K_S', ['Q5_1', 'Q8_0']],
    ['Q3_K_M', ['Q4_0', 'Q5_0', 'Q5_1', 'Q8_0']],
  ])('%s starts from the bytes of %j, and all of them train', async (type, expected) => {
    const output = join(folder, `${type}.gguf`)
    const options = {
      input: input(),
      data: [text()],
      tokens: 1024,
      context: 32,
      batch: 64,
      validation: 128,
      type,
    }
    const settings = { ...options, output, steps: 0 }
    const start = await train(settings)
    const ours = await openGguf(start.path)
    const used = new Set(Object.values(namesOf(ours.tensors)))
    expect([...used].sort()).toEqual(['F32', ...expected])
    await ours.close()
    const reference = join(folder, `${type}-reference.gguf`)
    expect(await tensorData(start.path)).toEqual(await opponentData(settings, start, reference))

    const report = await train({ ...options, output: join(folder, `${type}-trained.gguf`), steps: 20 })
    expect(report.check.tensors).toBe(1 + 3 * 7)
    expect(report.written).toBe('qat')
    expect(report.check.differing).toBe(0)
  })
})
