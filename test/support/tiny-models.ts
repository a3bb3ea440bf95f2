/**
 * Tiny models of the architectures beside llama, described here a second time (by what llama.cpp asks for), so that a
 * mistake in quench's description shows.
 */
import { type TinyMetadata, type TinyTensor, tinyVocabulary, writeTinyModel } from './tiny-gguf.js'

export interface TinyVariant {
  readonly architecture: 'llama' | 'qwen2' | 'qwen3' | 'smollm3' | 'gemma3' | 'gemma4'
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
  /** The matrices of queries, keys and values are one. */
  readonly joined?: boolean
  readonly metadata?: TinyMetadata
  readonly gemma4?: TinyGemma4
}

/** What only Gemma 4 has. Everything in `TinyVariant` that is not per layer is that of its global layers. */
interface TinyGemma4 {
  /** Which layers slide. */
  readonly slides: readonly boolean[]
  readonly headWidthSliding?: number
  /** Heads of keys of every layer. */
  readonly headsKV?: readonly number[]
  readonly feedForward?: readonly number[]
  readonly perLayer?: number
  /** Layers at the end that read the keys and values of others. */
  readonly shared?: number
  /** Layers without `attn_v`. */
  readonly keysAsValues?: readonly number[]
  /** Factors on the outputs of layers. */
  readonly scales?: Readonly<Record<number, number>>
  /** Tensors of keys and values in the layers that do not use them. */
  readonly unused?: boolean
  /** Share of the pairs of a global head that rotate. */
  readonly rotated?: number
}

/**
 * Writes a model of random weights and norms. `gates` is a factor on the matrices before an activation: a large one moves
 * almost all gates to where GELU is 0 or x.
 */
export async function writeTinyVariant(path: string, variant: TinyVariant, gates = 1): Promise<void> {
  const { architecture, layers = 2, width = 64, heads = 4, headsKV = 2, feedForward = 96 } = variant
  const { headWidth = width / heads, tied = false, biases = [] } = variant
  const g = variant.gemma4
  const gemma = architecture.startsWith('gemma')
  const headNorms = architecture === 'qwen3' || gemma
  const tensors: TinyTensor[] = []
  const add = (name: string, ...shape: number[]): void => {
    tensors.push({ name: `${name}.weight`, shape })
    if (biases.includes(name)) tensors.push({ name: `${name}.bias`, shape: [shape[1]] })
  }
  add('token_embd', width, tinyVocabulary)
  add('output_norm', width)
  if (!tied) add('output', width, tinyVocabulary)
  const perLayer = g?.perLayer ?? 0
  if (perLayer > 0) {
    add('per_layer_token_embd', perLayer * layers, tinyVocabulary)
    add('per_layer_model_proj', width, perLayer * layers)
    add('per_layer_proj_norm', perLayer)
  }
  if (g?.slides.includes(false)) {
    const pairs = headWidth / 2
    const values = Array.from({ length: pairs }, (_, i) => (i < pairs * (g.rotated ?? 0.5) ? 1 : 1e30))
    tensors.push({ name: 'rope_freqs.weight', shape: [pairs], values })
  }
  for (let layer = 0; layer < layers; layer++) {
    const block = (name: string, ...shape: number[]): void => add(`blk.${layer}.${name}`, ...shape)
    const head = g?.slides[layer] ? (g.headWidthSliding ?? headWidth) : headWidth
    const kv = g?.headsKV?.[layer] ?? headsKV
    const wide = g?.feedForward?.[layer] ?? feedForward
    const own = layer < layers - (g?.shared ?? 0) || g?.unused
    block('attn_norm', width)
    if (variant.joined) block('attn_qkv', width, head * (heads + 2 * kv))
    else block('attn_q', width, head * heads)
    if (own && !variant.joined) block('attn_k', width, head * kv)
    if (own && !variant.joined && !g?.keysAsValues?.includes(layer)) block('attn_v', width, head * kv)
    block('attn_output', head * heads, width)
    if (headNorms) block('attn_q_norm', head)
    if (headNorms && own) block('attn_k_norm', head)
    if (gemma) for (const norm of ['post_attention_norm', 'post_ffw_norm']) block(norm, width)
    block('ffn_norm', width)
    block('ffn_gate', width, wide)
    block('ffn_up', width, wide)
    block('ffn_down', wide, width)
    if (perLayer > 0) {
      block('inp_gate', width, perLayer)
      block('proj', perLayer, width)
      block('post_norm', width)
    }
    const scale = g?.scales?.[layer]
    if (scale) tensors.push({ name: `blk.${layer}.layer_output_scale.weight`, shape: [1], values: [scale] })
  }
  const metadata = {
    context_length: 1024,
    embedding_length: width,
    block_count: layers,
    feed_forward_length: g?.feedForward ?? feedForward,
    'attention.head_count': heads,
    'attention.head_count_kv': g?.headsKV ?? headsKV,
    'attention.layer_norm_rms_epsilon': 1e-5,
    ...(variant.headWidth && { 'attention.key_length': headWidth, 'attention.value_length': headWidth }),
    ...(g && {
      'attention.key_length': headWidth,
      'attention.value_length': headWidth,
      'attention.key_length_swa': g.headWidthSliding ?? headWidth,
      'attention.value_length_swa': g.headWidthSliding ?? headWidth,
      'attention.sliding_window': 24,
      'attention.sliding_window_pattern': g.slides,
      'attention.shared_kv_layers': g.shared ?? 0,
      embedding_length_per_layer_input: perLayer,
      'rope.dimension_count': headWidth,
      'rope.dimension_count_swa': g.headWidthSliding ?? headWidth,
    }),
    ...variant.metadata,
  }
  const factor = (name: string): number => {
    if (name.endsWith('gate.weight')) return gates
    // Gemma 4 does not scale products of queries and keys.
    return architecture === 'gemma4' && /attn_[qk]_norm/.test(name) ? 0.5 : 1
  }
  await writeTinyModel(path, { architecture, metadata, tensors, seed: 5, norms: true, factor })
}
