/**
 * Tiny models of the architectures beside llama, described here a second time (by what llama.cpp asks for), so that a
 * mistake in quench's description shows.
 */
import { type TinyMetadata, type TinyTensor, tinyVocabulary, writeTinyModel } from './tiny-gguf.js'

export interface TinyVariant {
  readonly architecture: 'qwen2' | 'qwen3' | 'gemma3'
  readonly layers?: number
  readonly width?: number
  readonly heads?: number
  readonly headsKV?: number
  /** Width of a head; `width / heads` without it. */
  readonly headWidth?: number
  readonly feedForward?: number
  readonly tied?: boolean
  /** Tensors that have a bias, by full name without `.bias`. */
  readonly biases?: readonly string[]
  readonly metadata?: TinyMetadata
}

/** Writes a model of random weights and norms. */
export async function writeTinyVariant(path: string, variant: TinyVariant, seed = 5): Promise<void> {
  const { architecture, layers = 2, width = 64, heads = 4, headsKV = 2, feedForward = 96 } = variant
  const { headWidth = width / heads, tied = false, biases = [] } = variant
  const gemma = architecture === 'gemma3'
  const tensors: TinyTensor[] = []
  const add = (name: string, ...shape: number[]): void => {
    tensors.push({ name: `${name}.weight`, shape })
    if (biases.includes(name)) tensors.push({ name: `${name}.bias`, shape: [shape[1]] })
  }
  add('token_embd', width, tinyVocabulary)
  add('output_norm', width)
  if (!tied) add('output', width, tinyVocabulary)
  for (let layer = 0; layer < layers; layer++) {
    const block = (name: string, ...shape: number[]): void => add(`blk.${layer}.${name}`, ...shape)
    block('attn_norm', width)
    block('attn_q', width, headWidth * heads)
    block('attn_k', width, headWidth * headsKV)
    block('attn_v', width, headWidth * headsKV)
    block('attn_output', headWidth * heads, width)
    if (architecture !== 'qwen2') for (const norm of ['attn_q_norm', 'attn_k_norm']) block(norm, headWidth)
    if (gemma) for (const norm of ['post_attention_norm', 'post_ffw_norm']) block(norm, width)
    block('ffn_norm', width)
    block('ffn_gate', width, feedForward)
    block('ffn_up', width, feedForward)
    block('ffn_down', feedForward, width)
  }
  const metadata = {
    context_length: 1024,
    embedding_length: width,
    block_count: layers,
    feed_forward_length: feedForward,
    'attention.head_count': heads,
    'attention.head_count_kv': headsKV,
    'attention.layer_norm_rms_epsilon': 1e-5,
    ...(variant.headWidth && { 'attention.key_length': headWidth, 'attention.value_length': headWidth }),
    ...variant.metadata,
  }
  await writeTinyModel(path, { architecture, metadata, tensors, seed, norms: true })
}
