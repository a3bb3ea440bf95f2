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
import { nativeOptions, type QuantizeSettings } from '../../src/quantize/options.js'
import { comparedArchitectures, knownTypes } from '../../src/quantize/recipe-types.js'
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
  'llama, two queries a key': { ...wide, architecture: 'llama', layers: 5, headsKV: 1 },
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

const choices: readonly QuantizeSettings[] = [
  {},
  { pure: true },
  { leaveOutputTensor: true, tokenEmbeddingType: 'Q8_0' },
  { outputTensorType: 'Q5_0', tokenEmbeddingType: 'Q4_1' },
]

test.each(Object.keys(variants))('%s is planned as a dry run does, in its order', async (name) => {
  const input = join(folder, 'planned.gguf')
  await writeTinyVariant(input, variants[name])
  const source = await openGguf(input)
  let [planned, refused] = [0, 0]
  for (const settings of choices)
    for (const recipe of Object.keys(recipes).filter((type) => Object.hasOwn(FILE_TYPES, type)))
      for (const importance of [false, true]) {
        const options = {
          ...nativeOptions(recipe, settings),
          ...(importance && { importance: new Map([['', Float32Array.of(1)]]) }),
        }
        const found = knownTypes(source, recipe, settings, importance)
        if (found === undefined) {
          await expect(planModel(input, options)).rejects.toThrow('no tensor type fallback is defined')
          refused++
          continue
        }
        expect(found, `${recipe} ${JSON.stringify(settings)}`).toEqual(await planModel(input, options))
        planned++
      }
  await source.close()
  expect(planned).toBeGreaterThan(200)
  expect(refused).toBeLessThan(40)
})

test('the architectures that are planned without a dry run are those of these models', () => {
  const compared = new Set(Object.values(variants).map(({ architecture }) => architecture))
  expect([...compared].sort()).toEqual(comparedArchitectures)
})

test('what was not compared is left to libllama', async () => {
  const input = join(folder, 'other.gguf')
  await writeTinyVariant(input, { architecture: 'gemma3', layers: 2 })
  const source = await openGguf(input)
  expect(knownTypes(source, 'Q4_0', {}, false)).toHaveLength(source.tensors.length)
  const others: QuantizeSettings[] = [
    { tensorTypes: [{ pattern: 'ffn', type: 'Q8_0' }] },
    { pruneLayers: [1] },
    { overrideKv: [{ key: 'general.name', type: 'str', value: 'other' }] },
  ]
  for (const settings of others) expect(knownTypes(source, 'Q4_0', settings, false)).toBeUndefined()
  for (const type of ['COPY', 'MXFP4_MOE', 'NVFP4'])
    expect(knownTypes(source, type, {}, false)).toBeUndefined()
  source.metadata.set('general.architecture', { type: 'string', value: 'gemma2' })
  expect(knownTypes(source, 'Q4_0', {}, false)).toBeUndefined()
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
