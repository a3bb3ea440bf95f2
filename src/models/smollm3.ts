/** SmolLM3: Llama, but every fourth layer does not rotate queries and keys (NoPE, arXiv 2501.18795). */
import type { Gguf } from '../gguf/index.js'
import { silu } from '../graph/index.js'
import type { ModelConfig } from './architecture.js'
import { type BlockConfig, decoder, readHeads } from './decoder.js'
import { count } from './hyperparameters.js'
import { type Rope, readRope } from './rope.js'

/** Length of the period whose last layer does not rotate; no metadata key states it. */
const period = 4
const pairs = 'neighbours'

async function readBlocks(gguf: Gguf, config: ModelConfig): Promise<readonly BlockConfig[]> {
  const heads = readHeads(gguf, config)
  const feedForward = count(gguf.metadata, 'smollm3.feed_forward_length')
  const block = (kind: string, rope: Rope): BlockConfig => ({
    kind,
    attention: { ...heads, rope, scale: 1 / Math.sqrt(heads.headWidth) },
    feedForward,
  })
  const rotated = block('rotated', await readRope(gguf, 'smollm3', heads.headWidth, { pairs }))
  const still = block('not rotated', { pairs, frequencies: new Float64Array(0), magnitude: 1 })
  return Array.from({ length: config.layers }, (_, layer) => ((layer + 1) % period === 0 ? still : rotated))
}

export const smollm3 = decoder({
  name: 'smollm3',
  feedForwardScales: false,
  pairs,
  activation: silu,
  biases: ['attn_qkv', 'attn_q', 'attn_k', 'attn_v'],
  readBlocks,
})
