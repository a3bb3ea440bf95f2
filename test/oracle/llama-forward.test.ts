/**
 * quench's forward pass of the Llama architecture gives the logits of libllama: on F32 models, for every variant that
 * the hyperparameters can state, and on quantized models from their dequantized weights. The errors are normalized squared
 * ones; those of F32 were 1e-12 to 6e-12 when this was written, which is f32 summed up in another order.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { quantizeModel } from '../../src/llama/index.js'
import { llamaLogits, nmse, ownLogits, randomTokens } from '../support/logits.js'
import { type TinyOptions, writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-forward-'))
})
afterAll(() => rm(folder, { recursive: true }))

const length = 96
const windows = 2
const vocabulary = 271
const yarn = { 'rope.scaling.type': 'yarn', 'rope.scaling.factor': 4 }

const variants: Record<string, TinyOptions> = {
  'as many heads of keys as of queries': { headsKV: 4 },
  'two heads to one of keys': { headsKV: 2 },
  'four heads to one of keys': { headsKV: 1 },
  'tied output': { tied: true },
  'random norms and biases': { norms: true, biases: true },
  'heads wider than their share': { headWidth: 32 },
  'heads narrower than their share, one of keys': { headWidth: 8, headsKV: 1 },
  'rope base 500000': { metadata: { 'rope.freq_base': 500000 } },
  'rope scaling none': { metadata: { 'rope.scaling.type': 'none', 'rope.scaling.factor': 4 } },
  'rope scaling linear': { metadata: { 'rope.scaling.type': 'linear', 'rope.scaling.factor': 4 } },
  'rope scaling linear, old key': { metadata: { 'rope.scale_linear': 4 } },
  'rope scaling yarn': { metadata: { ...yarn, 'rope.scaling.original_context_length': 32 } },
  'rope scaling yarn, longer original context': {
    headWidth: 64,
    metadata: { ...yarn, 'rope.scaling.original_context_length': 256, 'rope.freq_base': 500000 },
  },
  'rope scaling yarn, original context not stated': { metadata: yarn },
  'rope scaling yarn and an attention factor': {
    metadata: { ...yarn, 'rope.scaling.original_context_length': 32, 'rope.scaling.attn_factor': 1.25 },
  },
  'rope frequencies of Llama 3': { ropeFreqs: [1, 1, 1, 1.5, 2.75, 8, 8, 8] },
  'an attention scale, which libllama does not read': { metadata: { 'attention.scale': 0.1 } },
  'a sliding window, which libllama does not read': { metadata: { 'attention.sliding_window': 16 } },
  'everything at once': {
    tied: true,
    norms: true,
    biases: true,
    headWidth: 32,
    headsKV: 1,
    ropeFreqs: Array.from({ length: 16 }, (_, i) => 1 + i / 4),
    metadata: { 'rope.freq_base': 500000 },
  },
}

describe('F32', () => {
  const tokens = randomTokens(windows * length, vocabulary, 3)

  test.each(Object.keys(variants))('%s', async (name) => {
    const path = join(folder, 'variant.gguf')
    await writeTinyGguf(path, { seed: 5, ...variants[name] })
    const error = nmse(await ownLogits(path, tokens, length), await llamaLogits(path, tokens, length))
    expect(error).toBeLessThan(2e-11)
  })

  test('every variant changes the logits, as far as libllama reads it', async () => {
    const same = [
      'two heads to one of keys',
      'rope scaling none',
      'an attention scale, which libllama does not read',
      'a sliding window, which libllama does not read',
    ]
    const plain = join(folder, 'plain.gguf')
    await writeTinyGguf(plain, { seed: 5 })
    const expected = await llamaLogits(plain, tokens, length)
    for (const [name, options] of Object.entries(variants)) {
      const path = join(folder, 'variant.gguf')
      await writeTinyGguf(path, { seed: 5, ...options })
      const change = nmse(await llamaLogits(path, tokens, length), expected)
      if (same.includes(name)) expect(change, name).toBe(0)
      else expect(change, name).toBeGreaterThan(1e-4)
    }
  })
})

/**
 * libllama multiplies quantized weights with activations that it rounds to 8 bits (Q8_0 or Q8_K; to 16 for F16 and
 * BF16), which quench does not. So the weights are checked with the same file as F32, and what the rounding of
 * activations does to the logits of this model of random weights is bounded by twice what was measured.
 */
describe('quantized', () => {
  const tokens = randomTokens(windows * length, vocabulary, 4)

  test.each([
    ['F16', 3e-6],
    ['BF16', 2e-4],
    ['Q8_0', 2.5e-3],
    ['Q6_K', 5e-3],
    ['Q5_K_S', 5e-3],
    ['Q4_K_S', 5e-3],
    ['Q4_0', 2.5e-3],
    ['Q3_K_S', 5e-3],
    ['Q2_K', 5e-3],
  ] as const)('%s', async (type, bound) => {
    const [source, path, decoded] = ['wide', type, `${type}-F32`].map((name) => join(folder, `${name}.gguf`))
    await writeTinyGguf(source, { width: 256, feedForward: 512, norms: true, seed: 6 })
    await quantizeModel(source, path, { type, pure: true })
    await quantizeModel(path, decoded, { type: 'F32', allowRequantize: true })
    const own = await ownLogits(path, tokens, length)
    expect(nmse(own, await llamaLogits(decoded, tokens, length))).toBeLessThan(2e-11)
    expect(nmse(own, await llamaLogits(path, tokens, length))).toBeLessThan(bound)
  })
})
