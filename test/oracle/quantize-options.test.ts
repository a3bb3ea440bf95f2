/** Quantizing with llama-quantize's options: against ggml's quantizer on rows, and plans against the files that are made. */
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Gguf, ggmlTypeNamed, openGguf } from '../../src/gguf/index.js'
import { quantizeModel, quantizeRows } from '../../src/llama/index.js'
import { verifyFile } from '../../src/names/verify.js'
import { provenanceKeys } from '../../src/provenance/record.js'
import type { QuantizeSettings } from '../../src/quantize/options.js'
import { planQuantization, type QuantizePlan } from '../../src/quantize/plan.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { Random } from '../../src/random.js'
import { compareGguf } from '../support/compare-gguf.js'
import { type TestEntry, writeGgufImatrix, writeLegacyImatrix } from '../support/imatrix.js'
import { writeParts } from '../support/parts.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: string
let odd: string
let imatrix: string
let output: string
let entries: TestEntry[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-options-'))
  model = join(folder, 'model.gguf')
  odd = join(folder, 'odd.gguf')
  imatrix = join(folder, 'imatrix.gguf')
  await writeTinyGguf(model, { width: 256, feedForward: 512, layers: 2 })
  await writeTinyGguf(odd, { width: 96, feedForward: 160, layers: 1, heads: 2, headsKV: 1 })
  const random = new Random(5)
  const gguf = await openGguf(model)
  entries = gguf.tensors
    .filter(({ name, shape }) => name.startsWith('blk.') && shape.length > 1)
    .map(({ name, shape }) => ({
      name,
      values: Float32Array.from({ length: shape[0] }, () => random.uniform() + 0.1),
    }))
  await gguf.close()
  await writeGgufImatrix(imatrix, entries)
})
beforeEach(async () => {
  output = join(await mkdtemp(join(folder, 'out-')), 'output.gguf')
})
afterAll(() => rm(folder, { recursive: true }))

/** Makes a file, and checks that the plan has foretold its size and the type of every tensor. */
async function made(input: string, type: string, settings: QuantizeSettings): Promise<Gguf> {
  const plan = await planQuantization(input, type, settings)
  await quantizeFile(input, output, type, { ...settings, threads: 1 })
  const gguf = await openGguf(output)
  expect(plan.bytes).toBe((await stat(output)).size)
  expect(typesOf(plan)).toEqual(gguf.tensors.map(({ name, type }) => [name, type]))
  return gguf
}

const typesOf = ({ tensors }: QuantizePlan) => tensors.map(({ name, to }) => [name, ggmlTypeNamed(to)?.type])

async function typesIn(gguf: Gguf): Promise<Map<string, number>> {
  await gguf.close()
  return new Map(gguf.tensors.map(({ name, type }) => [name, type]))
}

test.each(['gguf', 'dat'])('rows are rounded with the importances of a .%s file', async (form) => {
  const path = join(folder, `other.${form}`)
  await (form === 'gguf' ? writeGgufImatrix : writeLegacyImatrix)(path, entries)
  const source = await openGguf(model)
  const quantized = await made(model, 'Q2_K_S', { imatrix: path })
  for (const { name, values } of entries) {
    const { shape, type } = quantized.tensor(name)
    const weights = new Float32Array((await source.read(source.tensor(name))).buffer)
    expect(await quantized.read(quantized.tensor(name)), name).toEqual(
      quantizeRows(type, weights, shape[0], values),
    )
  }
  const { metadata } = quantized
  expect([...metadata].filter(([key]) => key.startsWith('quantize.'))).toEqual([
    ['quantize.imatrix.file', { type: 'string', value: path }],
    ['quantize.imatrix.dataset', { type: 'string', value: 'text.txt' }],
    ['quantize.imatrix.entries_count', { type: 'uint32', value: entries.length }],
    ['quantize.imatrix.chunks_count', { type: 'uint32', value: 2 }],
  ])
  await source.close()
  await quantized.close()
})

test('types of single tensors', async () => {
  const settings: QuantizeSettings = {
    tensorTypes: [
      { pattern: 'FFN_(up|down)', type: 'q8_0' },
      { pattern: 'blk\\.1\\.ffn', type: 'Q5_0' },
      { pattern: 'nothing', type: 'Q5_0' },
    ],
    outputTensorType: 'q5_1',
    tokenEmbeddingType: 'F16',
  }
  const types = await typesIn(await made(model, 'Q4_K_M', settings))
  const idOf = (name: string) => ggmlTypeNamed(name)?.type
  expect(types.get('output.weight')).toBe(idOf('Q5_1'))
  expect(types.get('token_embd.weight')).toBe(idOf('F16'))
  for (const [name, type] of Object.entries({ up: 'Q8_0', down: 'Q8_0', gate: 'Q5_0' }))
    expect(types.get(`blk.1.ffn_${name}.weight`), name).toBe(idOf(type))
  expect(types.get('blk.0.ffn_gate.weight')).toBe(idOf('Q4_K'))
  const { warnings } = await planQuantization(model, 'Q4_K_M', settings)
  expect(warnings).toEqual(['--tensor-type nothing=Q5_0 matches no tensor that is quantized'])
  expect((await planQuantization(model, 'BF16', settings)).warnings).toEqual([
    '--tensor-type has no effect with BF16',
  ])
})

test('one type for all, an output matrix that stays, and a copy', async () => {
  const pure = await typesIn(await made(model, 'Q3_K_M', { pure: true, leaveOutputTensor: true }))
  expect(new Set(pure.values())).toEqual(new Set([0, ggmlTypeNamed('Q3_K')?.type]))
  expect(pure.get('output.weight')).toBe(0)
  const quantized = output
  output = `${quantized}.copy`
  expect(await typesIn(await made(quantized, 'COPY', {}))).toEqual(pure)
})

test('what falls back is told', async () => {
  const { tensors } = await planQuantization(odd, 'Q4_K_S', {})
  const down = tensors.find(({ name }) => name === 'blk.0.ffn_down.weight')
  expect(down).toMatchObject({ shape: [160, 96], from: 'F32', to: 'Q5_0', fallbackOf: 'Q4_K' })
  expect(tensors.filter(({ fallbackOf }) => fallbackOf).length).toBeGreaterThan(5)
  await (await made(odd, 'Q4_K_S', {})).close()
  const { fallbacks } = await quantizeFile(odd, output, 'Q4_K_S', { threads: 1 })
  expect(fallbacks).toEqual(tensors.filter(({ fallbackOf }) => fallbackOf))
  expect(await quantizeFile(odd, output, 'Q8_0', { threads: 1 })).not.toHaveProperty('fallbacks')
})

test('importances that are needed and missing', async () => {
  const { tensors, warnings } = await planQuantization(model, 'IQ2_XXS', {})
  expect(warnings).toEqual([])
  expect(tensors.find(({ name }) => name === 'blk.0.attn_q.weight')).toMatchObject({
    to: 'IQ2_XXS',
    problem: 'needs an importance matrix',
  })
  await expect(quantizeFile(model, output, 'IQ2_XXS')).rejects.toThrow(
    `${model}: IQ2_XXS needs an importance matrix: make one with \`quench imatrix\` and name it with --imatrix`,
  )
  const partial = join(folder, 'partial.gguf')
  const [first, second, ...rest] = entries
  await writeGgufImatrix(partial, [{ ...first, values: first.values.map(() => 0) }, ...rest])
  const use = (type: string) => quantizeFile(model, output, type, { imatrix: partial })
  const both = [first, second].map(({ name }) => name).toSorted()
  await expect(use('IQ2_XXS')).rejects.toThrow(
    `${partial}: it has no importances of '${both[0]}' and '${both[1]}', which IQ2_XXS needs`,
  )
  expect((await use('Q4_K_S')).warnings).toEqual([
    expect.stringContaining(
      `entries are all zeros, so the rounding of their tensors is arbitrary: '${first.name}'`,
    ),
    `${partial}: it has no importances of 1 tensors, which are rounded without: '${second.name}'`,
  ])
})

test('a split model keeps its parts, of which none is left behind half written', async () => {
  const parts = await writeParts(model, folder)
  const settings: QuantizeSettings = { keepSplit: true, imatrix }
  const plan = await planQuantization(parts[0], 'Q4_K_M', settings)
  const result = await quantizeFile(parts[0], output, 'Q4_K_M', settings)
  const made = [1, 2].map((part) => output.replace('.gguf', `-0000${part}-of-00002.gguf`))
  expect(result.path).toBe(made[0])
  expect((await readdir(join(output, '..'))).toSorted()).toEqual(made.map((path) => path.split('/').at(-1)))
  expect(result.bytes).toBe(plan.bytes)
  const gguf = await openGguf(result.path)
  expect(gguf.files).toEqual(made)
  expect(new Map(typesOf(plan) as [string, number][])).toEqual(await typesIn(gguf))
  // The name of the first part is one of the output too.
  await quantizeFile(parts[0], made[0], 'Q4_0', settings)
  expect((await readdir(join(output, '..'))).length).toBe(2)
  await quantizeFile(model, output, 'Q4_0', { keepSplit: true })
  expect((await readFile(output)).length).toBeGreaterThan(0)
})

test("the file is llama-quantize's but for the record of how it was made", async () => {
  const parts = await writeParts(model, folder)
  const theirs = join(folder, 'theirs.gguf')
  for (const [input, type] of [
    [model, 'Q4_K_M'],
    [parts[0], 'Q3_K_S'],
    [model, 'COPY'],
  ] as const) {
    await quantizeModel(input, theirs, { type })
    await quantizeFile(input, output, type)
    const differences = await compareGguf(output, theirs)
    expect(differences.map((line) => line.replace(/:.*/s, '')).toSorted(), type).toEqual(
      provenanceKeys.toSorted(),
    )
    expect(await verifyFile(output)).toMatchObject({ ok: true, data: { state: 'intact' } })
  }
})

test('types that do not fit are refused', async () => {
  const refused = (settings: QuantizeSettings, input = model) => planQuantization(input, 'Q4_0', settings)
  await expect(refused({ outputTensorType: 'Q4_K' }, odd)).rejects.toThrow(
    /'output\.weight' of .*odd\.gguf has rows of 96, which Q4_K cannot cut into blocks of 256/,
  )
  for (const type of ['Q8_K', 'I32', 'Q4_K_M', 'x'])
    await expect(refused({ tokenEmbeddingType: type })).rejects.toThrow(
      `--token-embedding-type: ${type} is no type that tensors can be quantized to; choose one of F32, F16`,
    )
  for (const pattern of ['(', '', '(?<a>b)', '(?<=a)b', '*'])
    await expect(refused({ tensorTypes: [{ pattern, type: 'Q8_0' }] })).rejects.toThrow(
      `--tensor-type ${pattern}=Q8_0: "${pattern}" is not a regular expression`,
    )
})
