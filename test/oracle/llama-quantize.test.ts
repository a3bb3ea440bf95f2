/** ggml's quantizers on rows, and libllama's on files. */
import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FileError, QuenchError, UsageError } from '../../src/errors.js'
import {
  dequantizeRows,
  ggmlTypeId,
  ggmlTypeName,
  LlamaContext,
  LlamaModel,
  QUANTIZABLE_TYPES,
  quantizeModel,
  quantizeRows,
  quantizeRowsAsync,
  rowSize,
} from '../../src/llama/index.js'
import { Random } from '../../src/random.js'
import { loopShare } from '../support/event-loop.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

const ROW = 512
const random = new Random(7)
const weights = Float32Array.from({ length: 8 * ROW }, () => random.normal())
const importance = Float32Array.from({ length: ROW }, () => random.uniform() + 0.1)

/** Squared error over squared weights. */
function relativeError(type: number, bytes: Uint8Array): number {
  const rounded = dequantizeRows(type, bytes, weights.length)
  const sum = (values: Float32Array): number => values.reduce((total, value) => total + value * value, 0)
  return sum(rounded.map((value, i) => value - weights[i])) / sum(weights)
}

/** IQ2_XS, IQ1_S, IQ2_S and IQ1_M work the same, but ggml takes up to half a minute to prepare their lattices. */
const SLOW_TYPES = [17, 19, 22, 29]
const TYPES = QUANTIZABLE_TYPES.filter((type) => !SLOW_TYPES.includes(type))

/** Largest relative error to expect: that of the mantissa of floats; else 12 times what each bit should quarter. */
function errorBound(name: string, bitsPerWeight: number): number {
  const mantissaBits: Record<string, number> = { F32: 23, F16: 10, BF16: 7 }
  if (name in mantissaBits) return 4 ** -mantissaBits[name]
  return Math.min(0.7, 12 * 4 ** -bitsPerWeight)
}

describe('rows', () => {
  test.each(TYPES.map((type) => [ggmlTypeName(type), type] as const))('%s', async (name, type) => {
    const bytes = quantizeRows(type, weights, ROW, importance)
    expect(bytes.length).toBe(8 * rowSize(type, ROW))
    expect(ggmlTypeId(name)).toBe(type)
    expect(relativeError(type, bytes)).toBeLessThan(errorBound(name, (bytes.length * 8) / weights.length))
    expect(await quantizeRowsAsync(type, weights, ROW, importance, 3)).toEqual(bytes)
    expect(quantizeRows(type, new Float32Array(0), ROW, importance)).toHaveLength(0)
  })

  test('importance changes the bytes of K-quants', () => {
    expect(quantizeRows(12, weights, ROW, importance)).not.toEqual(quantizeRows(12, weights, ROW))
  })

  test('what ggml would abort or read astray for is refused', () => {
    for (const type of [-1, 4, 31, 43, 1e9, 1.5]) expect(() => ggmlTypeName(type)).toThrow(QuenchError)
    expect(() => ggmlTypeId('Q4_X')).toThrow(QuenchError)
    expect(() => quantizeRows(9, weights, ROW)).toThrow(/cannot quantize to Q8_1/)
    expect(() => quantizeRows(24, weights, ROW)).toThrow(/cannot quantize to I8/)
    expect(() => quantizeRows(12, weights.subarray(0, 96), 96)).toThrow(/whole number of Q4_K blocks/)
    expect(() => quantizeRows(2, weights.subarray(1), ROW)).toThrow(RangeError)
    expect(() => quantizeRows(12, weights, ROW, importance.subarray(1))).toThrow(RangeError)
    expect(() => quantizeRows(16, weights, ROW)).toThrow(/needs an importance matrix/)
    expect(() => quantizeRows(2, weights.with(3, Number.NaN), ROW)).toThrow(/weight 3 is NaN/)
    expect(() => dequantizeRows(2, new Uint8Array(17), 32)).toThrow(RangeError)
    expect(() => dequantizeRows(26, new Uint8Array(4), 1)).toThrow(/cannot dequantize I32/)
  })

  test('slices of a large array leave the event loop free', async () => {
    const large = new Float32Array(2 ** 21).map((_, i) => weights[i % weights.length])
    const blocking = async () => quantizeRows(12, large, 2048)
    expect(await loopShare(blocking)).toBeGreaterThan(0.95)
    expect(await loopShare(() => quantizeRowsAsync(12, large, 2048))).toBeLessThan(0.95)
  })

  test('leaving the process while a quantizer runs is not a crash', () => {
    const ggml = fileURLToPath(new URL('../../src/llama/ggml.ts', import.meta.url))
    const script = `
      import { quantizeRowsAsync } from ${JSON.stringify(ggml)}
      quantizeRowsAsync(12, new Float32Array(2 ** 24).fill(0.5), 4096)
      setTimeout(() => process.exit(7), 100)`
    const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script])
    expect(child.status, child.stderr.toString()).toBe(7)
  })
})

describe('files', () => {
  let folder: string
  let input: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'quench-llama-quantize-'))
    input = join(folder, 'tiny.gguf')
    await writeTinyGguf(input, { width: 256, feedForward: 256 })
  })
  afterAll(() => rm(folder, { recursive: true }))

  test('Q4_K_M is smaller, loads, and is the same each time', async () => {
    const output = join(folder, 'q4_k_m.gguf')
    await quantizeModel(input, output, { type: 'Q4_K_M', threads: 2 })
    expect((await stat(output)).size).toBeLessThan(0.25 * (await stat(input)).size)
    using model = await LlamaModel.load(output)
    using context = await LlamaContext.create(model, { contextSize: 32 })
    await context.decode(model.tokenize('the end', { addSpecial: true }))
    expect(context.logits().every(Number.isFinite)).toBe(true)
    const again = join(folder, 'again.gguf')
    await quantizeModel(input, again, { type: 'Q4_K_M', threads: 1 })
    expect(await readFile(again)).toEqual(await readFile(output))
  })

  test('importance and types of single tensors are used', async () => {
    const plain = join(folder, 'plain.gguf')
    const weighted = join(folder, 'weighted.gguf')
    const values = new Float32Array(256).map((_, i) => (i % 7) + 0.1)
    await quantizeModel(input, plain, { type: 'Q4_K_S' })
    const importanceOfAll = new Map(
      ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'].flatMap((name) =>
        [0, 1].map((layer): [string, Float32Array] => [`blk.${layer}.${name}.weight`, values]),
      ),
    )
    await quantizeModel(input, weighted, { type: 'Q4_K_S', importance: importanceOfAll })
    expect(await readFile(weighted)).not.toEqual(await readFile(plain))
    await quantizeModel(input, join(folder, 'iq2.gguf'), { type: 'IQ2_XXS', importance: importanceOfAll })
    const wide = join(folder, 'wide.gguf')
    await quantizeModel(input, wide, { type: 'Q4_K_S', tokenEmbeddingType: 'Q8_0', outputTensorType: 'F16' })
    expect((await stat(wide)).size).toBeGreaterThan((await stat(plain)).size)
  })

  test('failures name the file and the reason', async () => {
    const output = join(folder, 'out.gguf')
    const failure = (from: string, to: string, type: string): Promise<unknown> =>
      quantizeModel(from, to, { type }).catch((error: unknown) => error)
    const quantized = join(folder, 'q8_0.gguf')
    await quantizeModel(input, quantized, { type: 'Q8_0' })

    expect(await failure(input, output, 'Q4_X')).toBeInstanceOf(UsageError)
    expect(await failure(input, input, 'Q4_0')).toBeInstanceOf(UsageError)
    expect(await failure(quantized, output, 'Q4_0')).toMatchObject({
      path: quantized,
      message: expect.stringMatching(/requantizing from type q8_0 is disabled/),
    })
    expect(await failure(input, output, 'IQ2_XXS')).toMatchObject({
      message: expect.stringMatching(/needs an importance matrix/),
    })
    const nowhere = join(folder, 'nowhere', 'out.gguf')
    expect(await failure(input, nowhere, 'Q4_0')).toMatchObject({ path: nowhere })
    expect(await failure(nowhere, output, 'Q4_0')).toBeInstanceOf(FileError)
  })

  test('loading, failing and quantizing at once', async () => {
    const work = Array.from({ length: 8 }, async (_, i) => {
      await quantizeModel(input, join(folder, `many-${i}.gguf`), { type: 'Q5_0', threads: 2 })
      const model = await LlamaModel.load(join(folder, `many-${i}.gguf`))
      await expect(quantizeModel(join(folder, 'none'), join(folder, 'x'), { type: 'Q4_0' })).rejects.toThrow(
        FileError,
      )
      model.dispose()
    })
    await Promise.all(work)
  })
})
