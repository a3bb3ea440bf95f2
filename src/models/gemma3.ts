/**
 * Gemma 3, text, 270M to 27B (arXiv 2503.19786): most layers attend within a sliding window and have their own rotary base;
 * the others are global, and only they apply the stated rope scaling. Norms before and after attention and feed-forward, and
 * of queries and keys; the embedding is scaled by the root of the width.
 */
import type { Gguf } from '../gguf/index.js'
import { gelu } from '../graph/index.js'
import type { ModelConfig } from './architecture.js'
import { type BlockConfig, decoder, readHeads } from './decoder.js'
import { count, optionalCount, slidingLayers } from './hyperparameters.js'
import { readRope } from './rope.js'

/** Layer count of the 27B model, which scales by the width over the heads instead of the width of a head. */
const layersOf27B = 62

async function readBlocks(gguf: Gguf, config: ModelConfig): Promise<readonly BlockConfig[]> {
  const { metadata } = gguf
  const { layers, width } = config
  const heads = readHeads(gguf, config)
  const window = optionalCount(metadata, 'gemma3.attention.sliding_window')
  const slides = window
    ? slidingLayers(metadata, 'gemma3.attention.sliding_window_pattern', layers, 6)
    : new Array<boolean>(layers).fill(false)
  const rules = { pairs: 'halves', partial: true } as const
  const scaledBy = layers === layersOf27B ? Math.floor(width / heads.heads) : heads.headWidth
  const attention = { ...heads, scale: 1 / Math.sqrt(scaledBy) }
  const feedForward = count(metadata, 'gemma3.feed_forward_length')
  const global: BlockConfig = {
    kind: 'global',
    attention: { ...attention, rope: await readRope(gguf, 'gemma3', heads.headWidth, rules) },
    feedForward,
  }
  const sliding: BlockConfig = {
    kind: 'sliding',
    attention: {
      ...attention,
      rope: await readRope(gguf, 'gemma3', heads.headWidth, { ...rules, sliding: true }),
      ...(window && { window }),
    },
    feedForward,
  }
  return slides.map((slide) => (slide ? sliding : global))
}

export const gemma3 = decoder({
  name: 'gemma3',
  feedForwardScales: false,
  pairs: 'halves',
  activation: gelu,
  queryKeyNorms: true,
  postNorms: true,
  biases: ['attn_qkv', 'attn_q', 'attn_k', 'attn_v'],
  scaledEmbedding: true,
  logitCap: 0,
  readBlocks,
})
