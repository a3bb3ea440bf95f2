/** Files of recipes that llama.cpp has no file type for: every tensor as ggml's quantizer rounds it, and a file that libllama loads. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { recipes } from '../../src/formats/recipes.js'
import { type Gguf, ggmlTypes, openGguf } from '../../src/gguf/index.js'
import { checkLoads, FILE_TYPES, quantizeRows } from '../../src/llama/index.js'
import { readWeights } from '../../src/models/weights.js'
import { planQuantization } from '../../src/quantize/plan.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { typesOf } from '../../src/quantize/recipe-types.js'
import { writeGgufImatrix } from '../support/imatrix.js'
import { writeParts } from '../support/parts.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-by-recipe-'))
  await writeTinyGguf(join(folder, 'model.gguf'), { layers: 1, width: 64, heads: 2, feedForward: 96 })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const own = Object.keys(recipes).filter((name) => !Object.hasOwn(FILE_TYPES, name))

/** Of a tensor; 1 without one. */
async function scaleOf(gguf: Gguf, name: string): Promise<number> {
  const scale = name.replace(/weight$/, 'scale')
  if (scale === name || !gguf.has(scale)) return 1
  const [value] = await readWeights(gguf, gguf.tensor(scale))
  expect(Math.log2(value)).toBe(Math.round(Math.log2(value)))
  return value
}

test.each(own)('%s', async (type) => {
  const [input, output] = [join(folder, 'model.gguf'), join(folder, `${type}.gguf`)]
  const sizes: number[] = []
  const { bytes, warnings } = await quantizeFile(input, output, type, {
    onProgress: ({ done }) => sizes.push(done),
  })
  expect(warnings).toEqual([])
  expect(sizes.every((size) => size <= bytes)).toBe(true)
  await checkLoads(output, 'load')
  const [from, made] = [await openGguf(input), await openGguf(output)]
  const types = typesOf(from, type)
  expect([...types.values()]).toContain(recipes[type].type)
  expect(made.metadata.number('general.file_type')).toBe(recipes[type].fileType)
  for (const tensor of from.tensors) {
    const to = made.tensor(tensor.name)
    expect(to.type, tensor.name).toBe(types.get(tensor.name))
    if (to.type === tensor.type) continue
    const weights = await readWeights(from, tensor, 0, tensor.bytes)
    const scale = await scaleOf(made, tensor.name)
    const expected = quantizeRows(
      to.type,
      weights.map((w) => w / scale),
      tensor.shape[0],
    )
    expect(Buffer.compare(await made.read(to), expected), tensor.name).toBe(0)
  }
  await from.close()
  await made.close()
  expect((await readdir(folder)).sort()).toEqual([`${type}.gguf`, 'model.gguf'].sort())
  await rm(output)
})

test('options of quantize hold for them too', async () => {
  const [input, output, imatrix] = ['model.gguf', 'options.gguf', 'imatrix.gguf'].map((n) => join(folder, n))
  const down = 'blk.0.ffn_down.weight'
  const values = Float32Array.from({ length: 96 }, (_, i) => 1 + i)
  await writeGgufImatrix(imatrix, [{ name: down, values }])
  const settings = {
    imatrix,
    pure: true,
    tensorTypes: [{ pattern: 'FFN_down', type: 'q4_0' }],
    outputTensorType: 'Q8_0',
    tokenEmbeddingType: 'F16',
  }
  const plan = await planQuantization(input, own[0], settings)
  const { bytes, warnings } = await quantizeFile(input, output, own[0], settings)
  expect(bytes).toBe(plan.bytes)
  expect(warnings).toEqual([expect.stringContaining('which are rounded without')])
  const [from, made] = [await openGguf(input), await openGguf(output)]
  const names = (gguf: typeof made) => gguf.tensors.map(({ name, type }) => [name, ggmlTypes.get(type)?.name])
  const matrices = names(made).filter(([name]) => !name?.endsWith('.scale'))
  expect(plan.tensors.map(({ name, to }) => [name, to])).toEqual(matrices)
  const types = Object.fromEntries(names(made))
  expect(types).toMatchObject({ 'token_embd.weight': 'F16', 'output.weight': 'Q8_0', [down]: 'Q4_0' })
  expect(types['blk.0.attn_q.weight']).toBe(own[0])
  const weights = await readWeights(from, from.tensor(down), 0, from.tensor(down).bytes)
  expect(await made.read(made.tensor(down))).toEqual(
    quantizeRows(made.tensor(down).type, weights, 96, values),
  )
  expect(made.metadata.number('quantize.imatrix.entries_count')).toBe(1)
  expect(made.metadata.string('quantize.imatrix.file')).toBe(imatrix)
  await from.close()
  await made.close()
})

test('a split model does not stay split', async () => {
  const parts = await writeParts(join(folder, 'model.gguf'), folder)
  await expect(planQuantization(parts[0], own[0], { keepSplit: true })).rejects.toThrow(
    `--keep-split is not possible with ${own[0]}, which llama.cpp has no file type for`,
  )
})
