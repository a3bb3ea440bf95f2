/** Files of recipes that llama.cpp has no file type for: every tensor as ggml's quantizer rounds it, and a file that libllama loads. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { recipes } from '../../src/formats/recipes.js'
import { openGguf } from '../../src/gguf/index.js'
import { checkLoads, FILE_TYPES, quantizeRows } from '../../src/llama/index.js'
import { readWeights } from '../../src/models/weights.js'
import { typesOf } from '../../src/quantize/by-recipe.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-by-recipe-'))
  await writeTinyGguf(join(folder, 'model.gguf'), { layers: 1, width: 64, heads: 2, feedForward: 96 })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const own = Object.keys(recipes).filter((name) => !Object.hasOwn(FILE_TYPES, name))

test.each(own)('%s', async (type) => {
  const [input, output] = [join(folder, 'model.gguf'), join(folder, `${type}.gguf`)]
  const sizes: number[] = []
  const { bytes, warnings } = await quantizeFile(input, output, type, {
    onProgress: (written) => sizes.push(written),
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
    const expected = quantizeRows(to.type, weights, tensor.shape[0])
    expect(Buffer.compare(await made.read(to), expected), tensor.name).toBe(0)
  }
  await from.close()
  await made.close()
  expect((await readdir(folder)).sort()).toEqual([`${type}.gguf`, 'model.gguf'].sort())
  await rm(output)
})
