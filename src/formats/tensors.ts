/**
 * Classifies tensors of a GGUF model by name and shape: whether they are quantized, the kind that recipes distinguish,
 * and the position in llama.cpp's order. The rules are llama.cpp's
 * (src/llama-quant.cpp, src/llama-model-loader.h of 0.5.0).
 */
import { QuenchError } from '../errors.js'

export interface TensorFacts {
  readonly name: string
  /** ggml order: `shape[0]` is the length of a row. */
  readonly shape: readonly number[]
  /** ggml_type id in the source. */
  readonly type: number
}

export type Kind =
  | ('output' | 'embedding' | 'other')
  | ('attnV' | 'attnK' | 'attnQ' | 'attnOutput')
  | ('ffnUp' | 'ffnGate' | 'ffnDown')

/** Parts of names; the first one that occurs decides. */
const kindsByPart: readonly (readonly [part: string, kind: Kind])[] = [
  ['attn_qkv.weight', 'attnV'],
  ['attn_kv_b.weight', 'attnV'],
  ['attn_v.weight', 'attnV'],
  ['attn_k.weight', 'attnK'],
  ['attn_q.weight', 'attnQ'],
  ['attn_output.weight', 'attnOutput'],
  ['ffn_up', 'ffnUp'],
  ['ffn_gate', 'ffnGate'],
  ['ffn_down', 'ffnDown'],
]

/** The kind of a tensor. */
export function kindOf(name: string): Kind {
  if (name === 'output.weight') return 'output'
  if (name === 'token_embd.weight' || name === 'per_layer_token_embd.weight') return 'embedding'
  return kindsByPart.find(([part]) => name.includes(part))?.[1] ?? 'other'
}

/** Parts of the names of weights that are not quantized, because they are small or too sensitive to rounding. */
const leftAlone: readonly string[] = [
  '_norm.weight',
  // routing of experts
  'ffn_gate_inp.weight',
  'ffn_gate_tid2eid.weight',
  // Gemma 3n
  'altup',
  'laurel',
  'per_layer_model_proj',
  // convolutions of Mamba, Kimi, LFM2
  'ssm_conv1d',
  'shortconv.conv.weight',
  // MiniMax
  'indexer.k_proj.weight',
  'indexer.q_proj.weight',
  // RWKV
  ...['first', 'w0', 'w1', 'w2', 'v0', 'v1', 'v2', 'a0', 'a1', 'a2', 'g1', 'g2'].map(
    (s) => `time_mix_${s}.weight`,
  ),
  ...['decay_w1', 'decay_w2', 'lerp_fused'].map((s) => `time_mix_${s}.weight`),
  // T5
  'attn_rel_b.weight',
  // vision and audio
  '.position_embd',
  'sam.pos_embd',
  'sam.neck.',
  'sam.net_',
  '.rel_pos',
  '.patch_embd',
  '.patch_merger',
  'a.rvq.codebook',
  'mm.a.code_embd',
]

/** Whether a tensor is quantized: a matrix or a stack of matrices (trailing dimensions of 1 do not count) of weights. */
export function isRounded({ name, shape }: TensorFacts): boolean {
  return (
    shape.slice(1).some((length) => length > 1) &&
    name.endsWith('weight') &&
    name !== 'position_embd.weight' &&
    name !== 'token_types.weight' &&
    !leftAlone.some((part) => name.includes(part))
  )
}

/** The layer in the name of a block's tensor; -1 for others. */
function layerIn(name: string): number {
  return Number(/^blk\.(\d+)/.exec(name)?.[1] ?? -1)
}

/** The layer of a tensor of a model with `layers` layers. Throws QuenchError if its name has none of them. */
export function layerOf(name: string, layers: number): number {
  const layer = layerIn(name)
  if (layer < 0 || layer >= layers) {
    throw new QuenchError(
      `tensor ${name}: its name should begin with blk.<layer>. and a layer below ${layers}`,
    )
  }
  return layer
}

/** llama.cpp's order: tensors outside the blocks, then block by block, each sorted by name. */
export function byLayerThenName(a: Pick<TensorFacts, 'name'>, b: Pick<TensorFacts, 'name'>): number {
  return layerIn(a.name) - layerIn(b.name) || (a.name < b.name ? -1 : Number(a.name > b.name))
}
