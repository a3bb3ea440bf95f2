/** Names of tensors: those of Transformers on the left, llama.cpp's on the right. */
import type { Conversion } from './architecture.js'

/** Llama's, without prefix and suffix; `layer.` stands for `layers.N.`. */
const llamaNames: Readonly<Record<string, string>> = {
  embed_tokens: 'token_embd',
  norm: 'output_norm',
  lm_head: 'output',
  'layer.input_layernorm': 'attn_norm',
  'layer.post_attention_layernorm': 'ffn_norm',
  'layer.self_attn.q_proj': 'attn_q',
  'layer.self_attn.k_proj': 'attn_k',
  'layer.self_attn.v_proj': 'attn_v',
  'layer.self_attn.o_proj': 'attn_output',
  'layer.self_attn.q_norm': 'attn_q_norm',
  'layer.self_attn.k_norm': 'attn_k_norm',
  'layer.mlp.gate_proj': 'ffn_gate',
  'layer.mlp.up_proj': 'ffn_up',
  'layer.mlp.down_proj': 'ffn_down',
}

/** Towers for images and sound, and what joins them to the text model. */
const otherModes =
  /^(vision_tower|vision_model|audio_tower|multi_modal_projector|embed_vision|embed_audio|visual|audio_projector)\./

/** Values that Transformers computes itself. */
const buffers = /\.(rotary_emb\.inv_freq|attention\.masked_bias|attention\.bias)$/

/** The name without the prefixes that tell a text model from its head and from the other models of a multimodal checkpoint. */
export const plainName = (name: string): string =>
  name.replace(/^(?:model\.)?(?:language_model\.)?(?:model\.)?/, '')

/** What becomes of a tensor. `ignored`: nobody needs it; `other`: it is no text's; undefined: it is unknown. */
export function ggufName(
  name: string,
  conversion: Conversion,
): { readonly name: string } | 'ignored' | 'other' | undefined {
  if (buffers.test(name)) return 'ignored'
  const plain = plainName(name)
  if (otherModes.test(plain)) return 'other'
  const [, layer, part = '', suffix] = /^(?:layers\.(\d{1,6})\.)?(.+?)(?:\.(weight|bias))?$/.exec(plain) ?? []
  const names = { ...llamaNames, ...conversion.names }
  const key = layer === undefined ? part : `layer.${part}`
  const found = Object.hasOwn(names, key) ? names[key] : undefined
  // Only this one is no module with a weight.
  if (found === undefined || (suffix === undefined && part !== 'layer_scalar')) return undefined
  const block = layer === undefined ? '' : `blk.${Number(layer)}.`
  return { name: `${block}${found}.${suffix ?? 'weight'}` }
}
