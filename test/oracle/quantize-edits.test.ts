/** Quantizing with chosen entries of a matrix, without some layers, and with other metadata. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Gguf, openGguf } from '../../src/gguf/index.js'
import { checkLoads, quantizeRows } from '../../src/llama/index.js'
import type { KvOverride, QuantizeSettings } from '../../src/quantize/options.js'
import { planQuantization } from '../../src/quantize/plan.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { readTensorTypes } from '../../src/quantize/tensor-type-file.js'
import { writeGgufImatrix } from '../support/imatrix.js'
import { writeParts } from '../support/parts.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

const width = 64
let folder: string
let model: string
let imatrix: string
let output: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-edits-'))
  ;[model, imatrix, output] = ['model', 'imatrix', 'output'].map((name) => join(folder, `${name}.gguf`))
  await writeTinyGguf(model, { layers: 3, width, heads: 2, feedForward: 96 })
  const names = [0, 1, 2].flatMap((layer) => ['q', 'k'].map((part) => `blk.${layer}.attn_${part}.weight`))
  await writeGgufImatrix(
    imatrix,
    names.map((name, i) => ({
      name,
      values: Float32Array.from({ length: width }, (_, j) => 1 + ((i + j) % 7)),
    })),
  )
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Makes a file, and checks its size against the plan's and that it loads. */
async function made(type: string, settings: QuantizeSettings): Promise<Gguf> {
  const plan = await planQuantization(model, type, settings)
  await quantizeFile(model, output, type, { ...settings, threads: 1 })
  await checkLoads(output, 'load')
  expect(plan.bytes).toBe((await stat(output)).size)
  const gguf = await openGguf(output)
  expect(plan.tensors.map(({ name }) => name)).toEqual(gguf.tensors.map(({ name }) => name))
  return gguf
}

const importanceOf = (layer: number, part: 'q' | 'k') =>
  Float32Array.from({ length: width }, (_, j) => 1 + ((2 * layer + Number(part === 'k') + j) % 7))

/** The bytes that a tensor of the model is rounded to. */
async function rounded(name: string, type: number, importance?: Float32Array): Promise<Uint8Array> {
  const gguf = await openGguf(model)
  const weights = new Float32Array((await gguf.read(gguf.tensor(name))).buffer)
  await gguf.close()
  return quantizeRows(type, weights, width, importance)
}

test.each([
  [{ includeWeights: ['attn_q', 'blk.2'] }, 4, ['blk.1.attn_q'], ['blk.1.attn_k']],
  [{ excludeWeights: ['attn_q', 'blk.2'] }, 2, ['blk.1.attn_k'], ['blk.1.attn_q', 'blk.2.attn_k']],
] as const)('%j', async (choice, count, used, unused) => {
  const gguf = await made('Q4_0', { imatrix, ...choice })
  expect(gguf.metadata.number('quantize.imatrix.entries_count')).toBe(count)
  for (const stem of [...used, ...unused]) {
    const tensor = gguf.tensor(`${stem}.weight`)
    const [, layer, part] = /blk\.(\d)\.attn_(.)/.exec(stem) as unknown as [string, string, 'q' | 'k']
    const importance = (used as readonly string[]).includes(stem)
      ? importanceOf(Number(layer), part)
      : undefined
    expect(await gguf.read(tensor), stem).toEqual(await rounded(tensor.name, tensor.type, importance))
  }
  await gguf.close()
})

test.each(['Q4_0', 'COPY'])('layers are left out of %s, and those after them move up', async (type) => {
  const gguf = await made(type, { pruneLayers: [1, 1], ...(type !== 'COPY' && { imatrix }) })
  expect(gguf.metadata.number('llama.block_count')).toBe(2)
  expect(gguf.tensors.some(({ name }) => name.startsWith('blk.2.'))).toBe(false)
  const tensor = gguf.tensor('blk.1.attn_q.weight')
  const expected = rounded('blk.2.attn_q.weight', tensor.type, importanceOf(2, 'q'))
  expect(await gguf.read(tensor)).toEqual(await expected)
  await gguf.close()
  const { tensors, bitsPerWeight } = await planQuantization(model, type, { pruneLayers: [1] })
  expect(tensors.find(({ name }) => name === tensor.name)).toMatchObject({ source: 'blk.2.attn_q.weight' })
  expect(bitsPerWeight).toBeLessThan(32.1)
})

const overrideKv: KvOverride[] = [
  { key: 'general.name', type: 'str', value: 'another' },
  { key: 'test.int', type: 'int', value: 4294967295 },
  { key: 'test.float', type: 'float', value: 0.1 },
  { key: 'test.bool', type: 'bool', value: true },
  { key: 'test.bool', type: 'bool', value: false },
]

test.each(['Q4_0', 'MXFP4'])('metadata of %s is as it was said', async (type) => {
  const gguf = await made(type, { overrideKv, imatrix })
  const { metadata } = gguf
  expect(['general.name', 'test.int', 'test.float', 'test.bool'].map((key) => metadata.get(key))).toEqual([
    { type: 'string', value: 'another' },
    { type: 'uint32', value: 4294967295 },
    { type: 'float32', value: Math.fround(0.1) },
    { type: 'bool', value: false },
  ])
  expect(metadata.string('quantize.imatrix.file')).toBe(imatrix)
  await gguf.close()
})

describe('is refused', () => {
  const refused = (settings: QuantizeSettings, type = 'Q4_0', input = model) =>
    expect(planQuantization(input, type, settings)).rejects
  test('a choice of entries without a matrix, both at once, or of none', async () => {
    await refused({ includeWeights: ['a'] }).toThrow(
      '--include-weights chooses entries of an importance matrix; name one with --imatrix',
    )
    await refused({ imatrix, includeWeights: ['a'], excludeWeights: ['b'] }).toThrow('exclude each other')
    await refused({ imatrix, excludeWeights: ['attn_v'] }).toThrow(
      `--exclude-weights attn_v: no entry of ${imatrix} has this in its name`,
    )
    await refused({ imatrix, excludeWeights: ['blk'] }).toThrow('leaves no entry')
  })

  test('layers that are not there, and all of them', async () => {
    await refused({ pruneLayers: [3] }).toThrow(`${model} has no layer 3, only 0 to 2`)
    await refused({ pruneLayers: [0, 1, 2] }).toThrow('leaves no layer')
    await refused({ pruneLayers: [-1] }).toThrow('-1 is not a layer')
    await refused({ pruneLayers: [1] }, 'MXFP4').toThrow('prune with the type COPY first')
    const parts = await writeParts(model, folder)
    await refused({ pruneLayers: [1, 2], keepSplit: true }, 'Q4_0', parts[0]).toThrow(
      `--prune-layers leaves no tensor of ${parts[1]}; leave out --keep-split`,
    )
  })

  test.each([
    [{ key: '', type: 'int', value: 1 }, 'a key has 1 to 127 bytes'],
    [{ key: 'general.alignment', type: 'int', value: 64 }, 'says where the data lies'],
    [{ key: 'split.count', type: 'int', value: 2 }, 'says where the data lies'],
    [{ key: 'a', type: 'int', value: -1 }, '-1 is not a whole number from 0 to 4294967295'],
    [{ key: 'a', type: 'float', value: 1e39 }, 'not a number that float32 can hold'],
    [{ key: 'a', type: 'str', value: 'ü'.repeat(64) }, 'texts of up to 127 bytes'],
  ] as const)('metadata: %j', async (override, message) => {
    await refused({ overrideKv: [override] }).toThrow(message)
  })
})

test('a file of tensor types', async () => {
  const path = join(folder, 'types.txt')
  await writeFile(path, 'attn_v=q8_0  ffn_(up|down)=Q6_K\n\n\tblk\\.1=q5_0')
  expect(await readTensorTypes(path)).toEqual([
    { pattern: 'attn_v', type: 'Q8_0', file: path },
    { pattern: 'ffn_(up|down)', type: 'Q6_K', file: path },
    { pattern: 'blk\\.1', type: 'Q5_0', file: path },
  ])
  const of = async (text: string, output: string) => {
    await writeFile(path, text)
    return expect(quantizeFile(model, output, 'Q4_0', { tensorTypes: await readTensorTypes(path) })).rejects
  }
  await (await of('attn_v=q8_0 attn_k=q8_0', path)).toThrow(
    `would overwrite ${path} (--tensor-type-file), which this command reads`,
  )
  expect(await readFile(path, 'utf8')).toBe('attn_v=q8_0 attn_k=q8_0')
  await (await of('attn_v=q9', output)).toThrow(`${path} attn_v=Q9: Q9 is no type`)
  await writeFile(path, 'attn_v q8_0')
  await expect(readTensorTypes(path)).rejects.toThrow(`${path}: "attn_v" is not an expression and a type`)
  await writeFile(path, ' ')
  await expect(readTensorTypes(path)).rejects.toThrow('it is empty')
  await expect(readTensorTypes(folder)).rejects.toThrow('this is a folder')
})
