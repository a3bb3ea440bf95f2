/**
 * The forward pass of every architecture gives the logits of libllama, on F32 models of random weights, for every variant that
 * the metadata can state and windows shorter than the text. Errors are normalized squared ones.
 *
 * libllama takes GELU from a table of halves, which alone makes an error of 4e-8 to 1e-7 at two to seven layers. So the
 * logits are compared twice: with the same rounding of GELU here, which leaves f32 sums in another order, and as it is.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Tensor } from '../../src/graph/index.js'
import { llamaLogits, nmse, ownLogits, randomTokens } from '../support/logits.js'
import { tinyVocabulary } from '../support/tiny-gguf.js'
import { type TinyVariant, writeTinyVariant } from '../support/tiny-models.js'

const gelu = vi.hoisted(() => ({ fromTable: false }))
vi.mock('../../src/graph/elementwise.js', async (original) => {
  const ops = await original<typeof import('../../src/graph/elementwise.js')>()
  const { where, less, roundToFloat16 } = ops
  const table = (x: Tensor): Tensor => roundToFloat16(ops.gelu(roundToFloat16(x)))
  const ends = (x: Tensor): Tensor => where(less(x, 10), where(less(-10, x), table(x), 0), x)
  return { ...ops, gelu: (x: Tensor) => (gelu.fromTable ? ends(x) : ops.gelu(x)) }
})

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

const qwen2: Variants = {
  plain: {},
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
  'biases of queries and keys': { biases: ['blk.0.attn_q', 'blk.1.attn_k'] },
  'the scale of the 27B model': { layers: 62, width: 32, heads: 2, headWidth: 32, feedForward: 32 },
}

const architectures: [TinyVariant['architecture'], Variants][] = [
  ['qwen2', qwen2],
  ['qwen3', qwen3],
  ['gemma3', gemma3],
]

/**
 * Of the errors with and without the rounding of GELU. Values on the edge of two halves go to one here and to the other there,
 * which 62 layers of random weights enlarge to 2e-7, and all of the rounding to 3e-6.
 */
function bounds(architecture: TinyVariant['architecture'], layers: number): [number, number] {
  if (architecture.startsWith('qwen')) return [2e-11, 2e-11]
  return layers > 10 ? [1e-6, 1e-5] : [2e-8, 5e-7]
}

describe.each(architectures)('%s', (architecture, variants) => {
  test.each(Object.keys(variants))('%s', async (name) => {
    const path = join(folder, 'variant.gguf')
    await writeTinyVariant(path, { ...variants[name], architecture })
    const expected = await llamaLogits(path, tokens, length)
    gelu.fromTable = true
    const error = nmse(await ownLogits(path, tokens, length), expected)
    gelu.fromTable = false
    const exact = nmse(await ownLogits(path, tokens, length), expected)
    const [bound, exactBound] = bounds(architecture, variants[name].layers ?? 2)
    expect(error).toBeLessThan(bound)
    expect(exact).toBeLessThan(exactBound)
  })

  test('every variant changes the logits of libllama', async () => {
    const path = join(folder, 'variant.gguf')
    const seen: Float32Array[] = []
    for (const [name, variant] of Object.entries(variants)) {
      await writeTinyVariant(path, { ...variant, architecture })
      const logits = await llamaLogits(path, tokens, length)
      const closest = Math.min(...seen.map((other) => nmse(logits, other)))
      if (name.endsWith(', as without')) expect(closest, name).toBe(0)
      else expect(closest, name).toBeGreaterThan(1e-4)
      seen.push(logits)
    }
  })
})
