/**
 * The forward pass of every architecture gives the logits of libllama, on F32 models of random weights, for every variant that
 * the metadata can state and windows shorter than the text. Errors are normalized squared ones.
 *
 * libllama takes GELU from a table of halves, which random weights enlarge from layer to layer. So every variant with GELU is
 * compared twice: with gates that are nearly all so large that GELU is 0 or x, which leaves f32 sums in another order (below
 * 1e-10 when this was written), and with ordinary ones.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { llamaLogits, nmse, ownLogits, randomTokens } from '../support/logits.js'
import { tinyVocabulary } from '../support/tiny-gguf.js'
import { type TinyVariant, writeTinyVariant } from '../support/tiny-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-architectures-'))
})
afterAll(() => rm(folder, { recursive: true }))

const length = 96
const tokens = randomTokens(2 * length, tinyVocabulary, 3)
const yarn = {
  'rope.scaling.type': 'yarn',
  'rope.scaling.factor': 4,
  'rope.scaling.original_context_length': 32,
}
const window = { 'attention.sliding_window': 24 }
type Variants = Record<string, Omit<TinyVariant, 'architecture'>>

const llama: Variants = {
  plain: {},
  'a bias of the second block alone': { biases: ['blk.1.ffn_down'] },
  'queries, keys and values in one matrix': { joined: true, biases: ['blk.0.attn_qkv'] },
}

const qwen2: Variants = {
  plain: {},
  'queries, keys and values in one matrix': { joined: true, biases: ['blk.0.attn_qkv', 'blk.1.attn_qkv'] },
  'tied output, one head of keys': { tied: true, headsKV: 1 },
  'biases of Qwen 2': {
    biases: ['attn_q', 'attn_k', 'attn_v'].flatMap((name) => [`blk.0.${name}`, `blk.1.${name}`]),
  },
  'a bias of the second block and of the output': { biases: ['blk.1.attn_k', 'output'] },
  'rope base 1000000': { metadata: { 'rope.freq_base': 1e6 } },
  'rope scaling linear': { metadata: { 'rope.scaling.type': 'linear', 'rope.scaling.factor': 4 } },
  'rope scaling yarn': { metadata: yarn },
}

const qwen3: Variants = {
  plain: {},
  'tied output, wide heads': { tied: true, headWidth: 32 },
  'narrow heads, one of keys': { headWidth: 8, headsKV: 1 },
  'biases of queries and values': { biases: ['blk.0.attn_q', 'blk.1.attn_v'] },
  'rope base 1000000 and yarn': { metadata: { ...yarn, 'rope.freq_base': 1e6 } },
}

const smollm3: Variants = {
  'layers that all rotate': { layers: 3 },
  'the last layer does not rotate': { layers: 4 },
  'two layers do not rotate, one head of keys': { layers: 8, headsKV: 1 },
  'tied output, wide heads': { layers: 5, tied: true, headWidth: 32 },
  'queries, keys and values in one matrix': { layers: 4, joined: true, biases: ['blk.3.attn_qkv'] },
  'biases of queries and values': { layers: 4, biases: ['blk.0.attn_q', 'blk.3.attn_v'] },
  'rope base 5000000': { layers: 4, metadata: { 'rope.freq_base': 5e6 } },
  'yarn and an attention factor': { layers: 4, metadata: { ...yarn, 'rope.scaling.attn_factor': 1.25 } },
}

const gemma3: Variants = {
  'no window': {},
  'a window of 0, as without': { metadata: { 'attention.sliding_window': 0 } },
  'a window, every sixth layer is global': { tied: true, layers: 7, metadata: window },
  'a window, every second layer is global': {
    layers: 3,
    metadata: { ...window, 'attention.sliding_window_pattern': 2 },
  },
  'a window in all layers': { metadata: { ...window, 'attention.sliding_window_pattern': 0 } },
  'a window in layers that an array names': {
    layers: 3,
    metadata: { ...window, 'attention.sliding_window_pattern': [false, true, false] },
  },
  'bases of global and sliding layers, linear scaling of global ones': {
    layers: 7,
    metadata: {
      ...window,
      'rope.freq_base': 1e6,
      'rope.freq_base_swa': 5000,
      'rope.scaling.type': 'linear',
      'rope.scaling.factor': 8,
    },
  },
  'yarn in global layers': {
    metadata: { ...window, ...yarn, 'attention.sliding_window_pattern': 2 },
  },
  'yarn and an attention factor': {
    metadata: {
      ...window,
      ...yarn,
      'attention.sliding_window_pattern': 2,
      'rope.scaling.attn_factor': 1.25,
    },
  },
  'wide heads, one of keys': { headWidth: 32, headsKV: 1, metadata: window },
  'half of a head is rotated': { headWidth: 32, metadata: { 'rope.dimension_count': 16 } },
  'logits are capped': { metadata: { final_logit_softcapping: 3 } },
  'queries, keys and values in one matrix': { joined: true, headsKV: 1, metadata: window },
  'biases of queries and keys': { biases: ['blk.0.attn_q', 'blk.1.attn_k'] },
  'the scale of the 27B model': { layers: 62, width: 32, heads: 2, headWidth: 32, feedForward: 32 },
}

const slides = [true, false]
const e2b = {
  slides: [true, true, false, true, true, false],
  headsKV: [1, 1, 1, 1, 1, 1],
  feedForward: [64, 64, 64, 96, 96, 96],
  headWidthSliding: 16,
  perLayer: 8,
  shared: 3,
}
const gemma4: Variants = {
  'a sliding and a global layer': { gemma4: { slides } },
  'tied output': { tied: true, gemma4: { slides } },
  'heads of two widths': { headWidth: 32, gemma4: { slides, headWidthSliding: 8 } },
  'heads of keys by layer': { gemma4: { slides: [true, false, true], headsKV: [4, 1, 2] }, layers: 3 },
  'all of a global head is rotated': { gemma4: { slides, rotated: 1 } },
  'bases of both kinds, linear scaling of global ones': {
    gemma4: { slides },
    metadata: {
      'rope.freq_base': 1e6,
      'rope.freq_base_swa': 5000,
      'rope.scaling.type': 'linear',
      'rope.scaling.factor': 8,
    },
  },
  'half of a sliding head is rotated': { gemma4: { slides }, metadata: { 'rope.dimension_count_swa': 8 } },
  'half of a global head is rotated, proportionally': {
    gemma4: { slides },
    headWidth: 32,
    metadata: { 'rope.dimension_count': 16 },
  },
  'keys as values': { gemma4: { slides, keysAsValues: [1] } },
  'an embedding for each layer': { gemma4: { slides, perLayer: 8 } },
  'scaled outputs': { gemma4: { slides, scales: { 0: 0.3, 1: 2.5 } } },
  'logits are capped': { gemma4: { slides }, metadata: { final_logit_softcapping: 3 } },
  'logits are not capped': { gemma4: { slides }, metadata: { final_logit_softcapping: 0 } },
  'feed-forward widths by layer': { gemma4: { slides, feedForward: [32, 160] } },
  'shared keys and values': {
    layers: 6,
    gemma4: { slides: [true, false, true, false, true, false], shared: 2 },
  },
  'shared keys and values, several times': {
    layers: 6,
    gemma4: { slides: [true, false, false, true, true, false], shared: 4, keysAsValues: [1] },
  },
  'shared keys and values with tensors that are not used': {
    layers: 4,
    gemma4: { slides: [true, false, true, false], shared: 2, unused: true },
  },
  'as E2B': {
    layers: 6,
    tied: true,
    headWidth: 32,
    gemma4: { ...e2b, scales: { 2: 0.5 } },
    metadata: { 'rope.freq_base': 1e6, final_logit_softcapping: 30 },
  },
  'queries, keys and values in one matrix, some of them not used': {
    layers: 4,
    joined: true,
    gemma4: { slides: [true, false, true, false], headsKV: [2, 1, 2, 1], shared: 2 },
  },
  'as 12B': {
    layers: 6,
    tied: true,
    headWidth: 32,
    gemma4: {
      slides: [true, true, true, true, true, false],
      headsKV: [2, 2, 2, 2, 2, 1],
      headWidthSliding: 16,
      keysAsValues: [5],
      scales: { 0: 0.9, 1: 0.8, 2: 0.7, 3: 0.9, 4: 1.1, 5: 0.6 },
    },
    metadata: { 'rope.freq_base': 1e6, final_logit_softcapping: 30 },
  },
}

const architectures: [TinyVariant['architecture'], Variants][] = [
  ['llama', llama],
  ['qwen2', qwen2],
  ['qwen3', qwen3],
  ['smollm3', smollm3],
  ['gemma3', gemma3],
  ['gemma4', gemma4],
]

describe.each(architectures)('%s', (architecture, variants) => {
  /** The error, with a factor on the gates. */
  async function errorOf(variant: Variants[string], gates: number): Promise<number> {
    const path = join(folder, 'variant.gguf')
    await writeTinyVariant(path, { ...variant, architecture }, gates)
    return nmse(await ownLogits(path, tokens, length), await llamaLogits(path, tokens, length))
  }

  test.each(Object.keys(variants))('%s', async (name) => {
    const variant = variants[name]
    const gelu = architecture.startsWith('gemma') // silu is exact in libllama
    if (gelu) expect(await errorOf(variant, 1000)).toBeLessThan(3e-10)
    if ((variant.layers ?? 2) <= 8) expect(await errorOf(variant, 1)).toBeLessThan(gelu ? 1e-6 : 2e-11)
  })

  test('every variant changes the logits of libllama', async () => {
    const path = join(folder, 'variant.gguf')
    const seen: Float32Array[] = []
    for (const [name, variant] of Object.entries(variants)) {
      await writeTinyVariant(path, { ...variant, architecture })
      const logits = await llamaLogits(path, tokens, length)
      const closest = Math.min(...seen.map((other) => nmse(logits, other)))
      if (name.endsWith(', as without')) expect(closest, name).toBe(0)
      else expect(closest, name).toBeGreaterThan(1e-5)
      seen.push(logits)
    }
  })
})
