/** Checkpoints with random weights, written as Transformers saves them, of every architecture that can be converted. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatNamed } from '../../src/formats/index.js'
import { Random } from '../../src/random.js'
import { gaussian } from './gaussian.js'
import type { TokenizerFiles } from './tokenizer-files.js'

export interface FileTensor {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

/** A safetensors file. */
export function safetensors(tensors: readonly FileTensor[]): Buffer {
  let at = 0
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } }
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] }
    at += bytes.length
  }
  const text = Buffer.from(JSON.stringify(header))
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')])
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  return Buffer.concat([length, padded, ...tensors.map(({ bytes }) => bytes)])
}

/** Random values in a type of the number formats. */
function randomTensor(name: string, shape: readonly number[], dtype: string, random: Random): FileTensor {
  const count = shape.reduce((product, size) => product * size, 1)
  const norm = /norm/.test(name)
  const w = gaussian(random, count, norm ? 0.2 : 0.1).map((value) => value + Number(norm))
  const format = formatNamed(dtype)
  if (!format) throw new Error(`no format ${dtype}`)
  return { name, dtype, shape, bytes: format.encode({ w }) }
}

export type Family =
  | 'llama'
  | 'mistral'
  | 'smollm3'
  | 'qwen2'
  | 'qwen3'
  | 'gemma3'
  | 'gemma3-images'
  | 'gemma4'
  | 'gemma4-small'

export interface CheckpointOptions {
  readonly family: Family
  readonly tokenizer: TokenizerFiles
  readonly dtype?: string
  /** Shards; 1: a single file without an index. */
  readonly shards?: number
  readonly tied?: boolean
  /** What config.json has beside the usual. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly files?: Readonly<Record<string, unknown>>
}

const width = 64
const heads = 4
const keyHeads = 2
const feedForward = 96

/** What differs among families. */
function describe(family: Family, size: number) {
  const common = {
    hidden_size: width,
    intermediate_size: feedForward,
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    num_hidden_layers: 2,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 1024,
    vocab_size: size,
    torch_dtype: 'bfloat16',
  }
  const gemma = { ...common, num_hidden_layers: 6, head_dim: 32, hidden_activation: 'gelu_pytorch_tanh' }
  const gemma3 = {
    ...gemma,
    query_pre_attn_scalar: 32,
    sliding_window: 24,
    rope_theta: 1e6,
    rope_local_base_freq: 10000,
    rope_scaling: { factor: 8, rope_type: 'linear' },
    layer_types: Array.from({ length: 6 }, (_, i) => (i < 5 ? 'sliding_attention' : 'full_attention')),
  }
  const gemma4 = {
    ...gemma3,
    rope_scaling: undefined,
    rope_theta: undefined,
    rope_local_base_freq: undefined,
    global_head_dim: 64,
    attention_k_eq_v: true,
    num_global_key_value_heads: 1,
    num_kv_shared_layers: 0,
    hidden_size_per_layer_input: 0,
    rope_parameters: {
      full_attention: { rope_type: 'proportional', rope_theta: 1e6, partial_rotary_factor: 0.25 },
      sliding_attention: { rope_type: 'default', rope_theta: 10000 },
    },
    final_logit_softcapping: 30.5,
    moe_intermediate_size: null,
  }
  const all = {
    llama: { architectures: ['LlamaForCausalLM'], model_type: 'llama', rope_theta: 500000, ...common },
    mistral: {
      ...{ architectures: ['MistralForCausalLM'], model_type: 'mistral', rope_theta: 1e6 },
      ...{ head_dim: 32, sliding_window: null, ...common },
    },
    smollm3: {
      ...{ architectures: ['SmolLM3ForCausalLM'], model_type: 'smollm3', rope_theta: 5e6, ...common },
      ...{ num_hidden_layers: 4, no_rope_layers: [1, 1, 1, 0], use_sliding_window: false },
      ...{ pad_token_id: null, bos_token_id: null, eos_token_id: null },
    },
    qwen2: {
      ...{ architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2', rope_theta: 1e6, ...common },
      use_sliding_window: false,
    },
    qwen3: {
      ...{
        architectures: ['Qwen3ForCausalLM'],
        model_type: 'qwen3',
        rope_theta: 1e6,
        head_dim: 32,
        ...common,
      },
    },
    gemma3: { architectures: ['Gemma3ForCausalLM'], model_type: 'gemma3_text', ...gemma3 },
    'gemma3-images': {
      architectures: ['Gemma3ForConditionalGeneration'],
      model_type: 'gemma3',
      text_config: { model_type: 'gemma3_text', ...gemma3 },
      vision_config: { model_type: 'siglip_vision_model', hidden_size: 32, num_hidden_layers: 1 },
    },
    gemma4: { architectures: ['Gemma4ForCausalLM'], model_type: 'gemma4_text', ...gemma4 },
    'gemma4-small': {
      architectures: ['Gemma4ForConditionalGeneration'],
      model_type: 'gemma4',
      text_config: {
        ...{ model_type: 'gemma4_text', ...gemma4, num_kv_shared_layers: 2, use_double_wide_mlp: true },
        ...{ hidden_size_per_layer_input: 16, vocab_size_per_layer_input: size },
        attention_k_eq_v: false,
        num_global_key_value_heads: null,
        layer_types: Array.from({ length: 6 }, (_, i) => (i % 2 ? 'full_attention' : 'sliding_attention')),
      },
      vision_config: { model_type: 'gemma4_vision', hidden_size: 32 },
      audio_config: null,
    },
  } as const
  return all[family] as Readonly<Record<string, unknown>>
}

/** Names and shapes, rows first. */
function shapesOf(family: Family, config: Readonly<Record<string, unknown>>, size: number, tied: boolean) {
  const text = (config.text_config ?? config) as Readonly<Record<string, number>>
  const prefix = family === 'gemma3-images' ? 'language_model.' : ''
  const model = family === 'gemma4-small' ? 'model.language_model.' : `${prefix}model.`
  const shapes: [string, number[]][] = [
    [`${model}embed_tokens.weight`, [size, width]],
    [`${model}norm.weight`, [width]],
  ]
  if (!tied) shapes.push([`${prefix}lm_head.weight`, [size, width]])
  const gemma = family.startsWith('gemma')
  const kinds = text.layer_types as unknown as readonly string[] | undefined
  const perLayer = text.hidden_size_per_layer_input ?? 0
  const layers = text.num_hidden_layers
  if (perLayer > 0)
    shapes.push(
      [`${model}embed_tokens_per_layer.weight`, [size, perLayer * layers]],
      [`${model}per_layer_model_projection.weight`, [perLayer * layers, width]],
      [`${model}per_layer_projection_norm.weight`, [perLayer]],
    )
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, ...shape: number[]) => shapes.push([`${model}layers.${layer}.${name}`, shape])
    const full = family.startsWith('gemma4') && kinds?.[layer] === 'full_attention'
    const head = full ? text.global_head_dim : (text.head_dim ?? width / heads)
    // Keys are the values too.
    const one = full && Boolean(text.attention_k_eq_v)
    const kv = one ? (text.num_global_key_value_heads ?? keyHeads) : keyHeads
    const shared = layer >= layers - (text.num_kv_shared_layers ?? 0)
    const wide = shared && text.use_double_wide_mlp ? 2 * feedForward : feedForward
    add('input_layernorm.weight', width)
    add('post_attention_layernorm.weight', width)
    add('self_attn.q_proj.weight', heads * head, width)
    add('self_attn.k_proj.weight', kv * head, width)
    if (!one) add('self_attn.v_proj.weight', kv * head, width)
    add('self_attn.o_proj.weight', width, heads * head)
    add('mlp.gate_proj.weight', wide, width)
    add('mlp.up_proj.weight', wide, width)
    add('mlp.down_proj.weight', width, wide)
    if (family === 'qwen2') {
      add('self_attn.q_proj.bias', heads * head)
      add('self_attn.k_proj.bias', kv * head)
      add('self_attn.v_proj.bias', kv * head)
    }
    if (gemma || family === 'qwen3') {
      add('self_attn.q_norm.weight', head)
      add('self_attn.k_norm.weight', head)
    }
    if (gemma) {
      add('pre_feedforward_layernorm.weight', width)
      add('post_feedforward_layernorm.weight', width)
    }
    if (family.startsWith('gemma4')) add('layer_scalar', 1)
    if (perLayer > 0) {
      add('per_layer_input_gate.weight', perLayer, width)
      add('per_layer_projection.weight', width, perLayer)
      add('post_per_layer_input_norm.weight', width)
    }
  }
  if (family === 'gemma3-images')
    shapes.push(
      ['vision_tower.vision_model.post_layernorm.weight', [32]],
      ['multi_modal_projector.mm_soft_emb_norm.weight', [32]],
    )
  if (family === 'gemma4-small')
    shapes.push(['model.vision_tower.patch_embedder.input_proj.weight', [32, 12]])
  return shapes
}

/** Writes a checkpoint and returns its tensors as they were written. */
export function writeCheckpoint(folder: string, options: CheckpointOptions): FileTensor[] {
  const {
    family,
    tokenizer,
    dtype = 'BF16',
    shards = 1,
    tied = family.startsWith('gemma'),
    files = {},
  } = options
  const config = { ...describe(family, tokenizer.size), tie_word_embeddings: tied, ...options.config }
  const random = new Random(7)
  const tensors = shapesOf(family, config, tokenizer.size, tied).map(([name, shape]) =>
    randomTensor(name, shape, dtype, random),
  )
  writeFiles(folder, { ...tokenizer.files, 'config.json': config, ...files })
  writeShards(folder, tensors, shards)
  return tensors
}

/** Files of JSON, text or bytes. */
export function writeFiles(folder: string, files: Readonly<Record<string, unknown>>): void {
  mkdirSync(folder, { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    const plain = typeof content === 'string' || content instanceof Uint8Array
    writeFileSync(join(folder, name), plain ? content : JSON.stringify(content))
  }
}

export function writeShards(folder: string, tensors: readonly FileTensor[], shards = 1): void {
  if (shards === 1) {
    writeFileSync(join(folder, 'model.safetensors'), safetensors(tensors))
    return
  }
  const map: Record<string, string> = {}
  const number = (value: number) => String(value).padStart(5, '0')
  for (let shard = 0; shard < shards; shard++) {
    const name = `model-${number(shard + 1)}-of-${number(shards)}.safetensors`
    const own = tensors.filter((_, i) => Math.floor((i * shards) / tensors.length) === shard)
    for (const tensor of own) map[tensor.name] = name
    writeFileSync(join(folder, name), safetensors(own))
  }
  writeFiles(folder, { 'model.safetensors.index.json': { metadata: {}, weight_map: map } })
}
