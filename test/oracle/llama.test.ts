/** Models, tokens and contexts of libllama, on a tiny model with random weights. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FileError, QuenchError } from '../../src/errors.js'
import { LlamaContext, LlamaModel } from '../../src/llama/index.js'
import { checkRelease, library } from '../../src/llama/library.js'
import { CONTEXT_PARAMS, differingFields, MODEL_PARAMS } from '../../src/llama/structs.js'
import { loopShare } from '../support/event-loop.js'
import { END_OF_TEXT, writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let path: string
let model: LlamaModel

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-llama-'))
  path = join(folder, 'tiny.gguf')
  await writeTinyGguf(path)
  model = await LlamaModel.load(path)
})
afterAll(async () => {
  model.dispose()
  await rm(folder, { recursive: true })
})

const TEXT = 'the cat and the rest of it: naïve 東京 🙂\n\tend'

describe('library', () => {
  test('has the defaults of the pinned release', () => {
    expect(library().version).toMatch(/^0\.5\.0/)
    expect(differingFields(CONTEXT_PARAMS, library().contextDefaults())).toEqual([])
  })

  test('is refused when a default is another', () => {
    const changed = { ...library().modelDefaults(), n_gpu_layers: 999, no_alloc: true }
    const differences = differingFields(MODEL_PARAMS, changed)
    expect(differences).toEqual(['n_gpu_layers is 999, not -1', 'no_alloc is true, not false'])
    expect(() => checkRelease('llama_model_params', differences)).toThrow(QuenchError)
  })
})

describe('model', () => {
  test('tells what it is', () => {
    expect(model).toMatchObject({
      vocabSize: 271,
      embeddingLength: 64,
      layers: 2,
      trainContext: 1024,
      addBos: true,
    })
    expect(model).toMatchObject({ architecture: 'llama', bos: 270, eos: 270 })
    expect(model.bytes).toBe(model.parameters * 4)
    expect(model.isEog(270)).toBe(true)
    expect(model.isEog(5)).toBe(false)
    expect(model.meta('tokenizer.ggml.model')).toBe('gpt2')
    expect(model.meta('no.such.key')).toBeUndefined()
  })

  test('tokens and text are each other again', () => {
    const tokens = model.tokenize(TEXT)
    expect(tokens.length).toBeLessThan(Buffer.byteLength(TEXT))
    expect(model.detokenize(tokens)).toBe(TEXT)
    expect(Buffer.concat([...tokens].map((token) => model.tokenBytes(token))).toString()).toBe(TEXT)
    expect(model.tokenize('')).toHaveLength(0)
    expect(model.detokenize([])).toBe('')
  })

  test('special tokens are added, read and written when asked', () => {
    expect([...model.tokenize('a', { addSpecial: true })]).toEqual([270, model.tokenize('a')[0]])
    expect([...model.tokenize(END_OF_TEXT, { parseSpecial: true })]).toEqual([270])
    expect(model.tokenize(END_OF_TEXT).length).toBeGreaterThan(1)
    expect(model.detokenize([270, 65], { special: true })).toContain(END_OF_TEXT)
    expect(model.tokenBytes(270)).toHaveLength(0)
    expect(Buffer.from(model.tokenBytes(270, true)).toString()).toBe(END_OF_TEXT)
  })

  test('a long text', () => {
    const text = 'the end of the story. '.repeat(50_000)
    expect(model.detokenize(model.tokenize(text))).toBe(text)
  })

  test('ids outside the vocabulary are refused', () => {
    for (const token of [-1, 271, 1.5, Number.NaN]) expect(() => model.tokenBytes(token)).toThrow(RangeError)
    expect(() => model.detokenize([271])).toThrow(RangeError)
  })

  test('vocabulary only', async () => {
    using vocabulary = await LlamaModel.load(path, { vocabOnly: true })
    expect(vocabulary.tokenize(TEXT)).toEqual(model.tokenize(TEXT))
    await expect(LlamaContext.create(vocabulary, { contextSize: 64 })).rejects.toThrow(/without weights/)
  })

  test('files that cannot be loaded are named, with the reason', async () => {
    const bytes = await readFile(path)
    const truncated = join(folder, 'truncated.gguf')
    const broken = join(folder, 'broken.gguf')
    const other = join(folder, 'other.gguf')
    await writeFile(truncated, bytes.subarray(0, bytes.length / 2))
    await writeFile(broken, bytes.subarray(0, 100))
    await writeFile(other, 'no model at all')
    const failures: [file: string, reason: RegExp][] = [
      [join(folder, 'missing.gguf'), /no such file/],
      [folder, /this is a folder/],
      [other, /not a GGUF file/],
      [truncated, /it is truncated; download it again/],
      [broken, /the file is damaged; download it again/],
    ]
    for (const [file, reason] of failures) {
      const error = await LlamaModel.load(file).catch((error: unknown) => error)
      expect(error).toBeInstanceOf(FileError)
      expect(error).toMatchObject({ path: file, message: expect.stringMatching(reason) })
    }
  })
})

describe('context', () => {
  const tokens = Int32Array.from({ length: 48 }, (_, i) => (i * 37) % 270)

  /** Logits of all tokens, decoded in pieces of `size`. */
  async function logitsInPieces(size: number): Promise<Float32Array> {
    using context = await LlamaContext.create(model, { contextSize: 64 })
    const logits: number[] = []
    for (let i = 0; i < tokens.length; i += size) {
      await context.decode(tokens.subarray(i, i + size), { logits: 'all' })
      logits.push(...context.logits())
    }
    return Float32Array.from(logits)
  }

  function largestDifference(a: Float32Array, b: Float32Array): number {
    expect(a.length).toBe(b.length)
    return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0)
  }

  test('logits are finite, the same each time, and the same in pieces', async () => {
    const whole = await logitsInPieces(48)
    expect(whole.length).toBe(48 * 271)
    expect(whole.every(Number.isFinite)).toBe(true)
    expect(largestDifference(whole, await logitsInPieces(48))).toBe(0)
    expect(largestDifference(whole, await logitsInPieces(16))).toBeLessThan(0.02)
    expect(largestDifference(whole, await logitsInPieces(1))).toBeLessThan(0.02)
  })

  test('sequences side by side are as each alone', async () => {
    const whole = await logitsInPieces(48)
    using context = await LlamaContext.create(model, { contextSize: 64, sequences: 3 })
    const three = [...tokens, ...tokens, ...tokens]
    const sequenceIds = three.map((_, i) => Math.floor(i / 48))
    const positions = three.map((_, i) => i % 48)
    await context.decode(three, { sequenceIds, positions, logits: three.map((_, i) => i === 47 || i === 95) })
    const logits = context.logits()
    expect(logits.length).toBe(2 * 271)
    expect(largestDifference(logits.slice(0, 271), whole.slice(-271))).toBeLessThan(0.02)
    expect(largestDifference(logits.slice(271), whole.slice(-271))).toBeLessThan(0.02)
  })

  test('forgetting and copying sequences', async () => {
    using context = await LlamaContext.create(model, { contextSize: 64, sequences: 2 })
    await context.decode(tokens.subarray(0, 10))
    const first = context.logits().slice()
    context.copySequence(0, 1)
    expect([context.sequenceLength(0), context.sequenceLength(1)]).toEqual([10, 10])
    expect(context.removeSequence(0, 9)).toBe(true)
    await context.decode(tokens.subarray(9, 10))
    expect(largestDifference(first, context.logits())).toBeLessThan(0.02)
    context.clear()
    expect(context.sequenceLength(0)).toBe(0)
    await context.decode(tokens.subarray(0, 10))
    expect(largestDifference(first, context.logits())).toBe(0)
  })

  test('measures itself', async () => {
    using context = await LlamaContext.create(model, { contextSize: 64, kvType: 'f32' })
    await context.decode(tokens)
    await context.decode([1])
    const { loadMs, promptMs, promptTokens, generateMs, generatedTokens } = context.performance()
    expect([promptTokens, generatedTokens]).toEqual([48, 1])
    expect(Math.min(loadMs, promptMs, generateMs)).toBeGreaterThan(0)
    const { modelBytes, kvBytes, stateBytes } = context.memory()
    expect(modelBytes).toBe(model.bytes)
    expect(kvBytes).toBe(2 * 256 * 2 * 32 * 4)
    expect(stateBytes).toBeGreaterThan(49 * 2 * 2 * 32 * 4)
  })

  test('batches that do not fit are refused, not tried', async () => {
    using context = await LlamaContext.create(model, { contextSize: 64 })
    await expect(context.decode([])).rejects.toThrow(RangeError)
    await expect(context.decode([271])).rejects.toThrow(RangeError)
    await expect(context.decode(new Int32Array(65))).rejects.toThrow(RangeError)
    await expect(context.decode([1, 2], { positions: [0] })).rejects.toThrow(RangeError)
    await expect(context.decode([1], { sequenceIds: [1] })).rejects.toThrow(RangeError)
    await expect(context.decode([1], { positions: [7] })).resolves.toBeUndefined()
    await expect(context.decode([1], { positions: [3] })).rejects.toThrow(/positions must continue/)
    await expect(LlamaContext.create(model, { contextSize: 0 })).rejects.toThrow(RangeError)
    await expect(LlamaContext.create(model, { contextSize: 64, sequences: 257 })).rejects.toThrow(RangeError)
    const long = await LlamaContext.create(model, { contextSize: 256 })
    await long.decode(new Int32Array(256))
    await expect(long.decode([1])).rejects.toThrow(/longer than the context/)
    long.dispose()
  })

  test('logits only when there are any', async () => {
    using context = await LlamaContext.create(model, { contextSize: 64 })
    expect(() => context.logits()).toThrow(/no logits/)
    await context.decode([1], { logits: [false] })
    expect(() => context.logits()).toThrow(/no logits/)
    const running = context.decode([1])
    expect(() => context.logits()).toThrow(/under way/)
    await expect(context.decode([2])).rejects.toThrow(/under way/)
    await running
  })

  test('use after dispose is an error; what is in use is freed later', async () => {
    const own = await LlamaModel.load(path)
    const context = await LlamaContext.create(own, { contextSize: 64 })
    own.dispose()
    own.dispose()
    expect(() => own.tokenize('a')).toThrow(/after dispose/)
    await expect(LlamaContext.create(own, { contextSize: 64 })).rejects.toThrow(/after dispose/)
    const running = context.decode(tokens)
    context.dispose()
    context.dispose()
    await running
    expect(() => context.logits()).toThrow(/after dispose/)
    expect(() => context.clear()).toThrow(/after dispose/)
    await expect(context.decode([1])).rejects.toThrow(/after dispose/)
  })
})

test('loading and decoding leave the event loop free', async () => {
  const large = join(folder, 'large.gguf')
  await writeTinyGguf(large, { layers: 4, width: 512, heads: 8, headsKV: 8, feedForward: 1024 })
  let own: LlamaModel | undefined
  const load = async () => {
    own = await LlamaModel.load(large, { mmap: false })
  }
  expect(await loopShare(load)).toBeLessThan(0.95)
  using model = own as unknown as LlamaModel
  using context = await LlamaContext.create(model, { contextSize: 1024 })
  expect(await loopShare(() => context.decode(new Int32Array(1024)))).toBeLessThan(0.95)
})
