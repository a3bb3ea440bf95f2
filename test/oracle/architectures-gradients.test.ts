/** Gradients of every tensor of every architecture, through the whole network, against differences of the loss. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { Network } from '../../src/engine/network.js'
import { openGguf } from '../../src/gguf/index.js'
import { architectureOf } from '../../src/models/table.js'
import { readModel } from '../../src/models/weights.js'
import { expectGradients } from '../support/gradients.js'
import { randomTokens } from '../support/logits.js'
import { tinyVocabulary } from '../support/tiny-gguf.js'
import { type TinyVariant, writeTinyVariant } from '../support/tiny-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-gradients-'))
})
afterAll(() => rm(folder, { recursive: true }))

const small = { width: 32, heads: 2, headsKV: 1, feedForward: 48 }
const variants: Record<string, TinyVariant> = {
  qwen2: { ...small, architecture: 'qwen2', biases: ['blk.1.attn_k', 'output'] },
  'llama, queries, keys and values in one matrix': {
    ...small,
    architecture: 'llama',
    joined: true,
    biases: ['blk.1.attn_qkv'],
  },
  qwen3: { ...small, architecture: 'qwen3', tied: true, headWidth: 8 },
  'smollm3, a layer that does not rotate': { ...small, architecture: 'smollm3', layers: 4, tied: true },
  'gemma3, window': {
    ...small,
    architecture: 'gemma3',
    tied: true,
    metadata: {
      'attention.sliding_window': 5,
      'attention.sliding_window_pattern': 2,
      final_logit_softcapping: 10,
    },
  },
  'gemma4, shared keys and values, an embedding for each layer': {
    ...small,
    architecture: 'gemma4',
    layers: 5,
    tied: true,
    gemma4: {
      slides: [true, false, true, true, false],
      headWidthSliding: 8,
      perLayer: 16,
      shared: 3,
      keysAsValues: [1],
      scales: { 2: 0.8 },
    },
    metadata: { 'attention.sliding_window': 5, final_logit_softcapping: 10 },
  },
  'gemma3, half of a head is rotated': {
    ...small,
    architecture: 'gemma3',
    layers: 1,
    metadata: { 'rope.dimension_count': 8 },
  },
}

test.each(Object.keys(variants))('%s', async (name) => {
  const path = join(folder, 'variant.gguf')
  // Small gates: where all gates of a token are nearly closed, the norm after them makes the loss too curved to measure.
  await writeTinyVariant(path, variants[name], 0.3)
  const gguf = await openGguf(path)
  const architecture = architectureOf(gguf)
  const config = await architecture.read(gguf)
  const weights = await readModel(gguf, architecture, config)
  await gguf.close()
  const network = new Network(cpu, architecture, config, { windows: 2, length: 12 })
  const tokens = randomTokens(network.tokens, tinyVocabulary, 2)
  const next = randomTokens(network.tokens, tinyVocabulary, 3)
  await expectGradients(network, weights, tokens, { kind: 'tokens', tokens: next }, 0.01)
  expect(weights.size).toBeGreaterThan(10)
  await network.dispose()
})
