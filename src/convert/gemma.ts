/** Gemma 3 and Gemma 4, text; of multimodal checkpoints the text model. */
import { FileError } from '../errors.js'
import { type Conversion, checkFixed, checkRope, headWidth, type Source } from './architecture.js'
import { plus, vector } from './rows.js'
import { bools, type Entry, float32, int32s, uint32 } from './values.js'

/** In llama.cpp every sixth layer of Gemma 3 has no window. */
const gemmaStep = 6

const norms = {
  'layer.post_attention_layernorm': 'post_attention_norm',
  'layer.pre_feedforward_layernorm': 'ffn_norm',
  'layer.post_feedforward_layernorm': 'post_ffw_norm',
}

const defaults = {
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  max_position_embeddings: 131072,
  vocab_size: 262208,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
}

const softcap = ({ config }: Source): Entry[] =>
  config.value('final_logit_softcapping')
    ? [['final_logit_softcapping', float32(config.number('final_logit_softcapping'))]]
    : []

const kindOf = (sliding: boolean): string => (sliding ? 'sliding_attention' : 'full_attention')

export const gemma3: Conversion = {
  name: 'gemma3',
  classes: ['Gemma3ForCausalLM', 'Gemma3ForConditionalGeneration'],
  defaults: { ...defaults, sliding_window: 4096, rope_local_base_freq: 10000 },
  names: norms,
  vocabulary: 'gemma3',
  metadata: (source) => [
    ...softcap(source),
    ['attention.sliding_window', uint32(source.config.count('sliding_window'))],
  ],
  // Gemma's norms multiply by 1 + weight.
  change: (name, rows) => (name.endsWith('norm.weight') ? plus(rows, 1) : rows),
  check(source) {
    const { config, layers } = source
    checkRope(source, 'default', 'linear', 'yarn', 'dynamic')
    const kinds = Array.from({ length: layers }, (_, layer) => kindOf((layer + 1) % gemmaStep !== 0))
    checkFixed(config, 'layer_types', kinds, 'is not every sixth layer without a window')
    if (config.has('sliding_window_pattern') && config.number('sliding_window_pattern') !== gemmaStep)
      throw new FileError(
        config.path,
        "has another 'sliding_window_pattern' than 6, which llama.cpp cannot run",
      )
    if (config.has('attn_logit_softcapping'))
      throw new FileError(
        config.path,
        "has 'attn_logit_softcapping', which Gemma 3 does not have in llama.cpp",
      )
  },
}

/** The kinds of the layers. */
function slides({ config, layers }: Source): boolean[] {
  const kinds = config.strings('layer_types')
  if (kinds?.length !== layers) throw config.wrong('layer_types', `a list of ${layers} kinds`)
  return kinds.map((kind) => kind === kindOf(true))
}

export const gemma4: Conversion = {
  name: 'gemma4',
  classes: ['Gemma4ForCausalLM', 'Gemma4ForConditionalGeneration'],
  defaults: {
    ...defaults,
    sliding_window: 512,
    vocab_size: 262144,
    num_kv_shared_layers: 0,
    global_head_dim: 512,
  },
  names: {
    ...norms,
    'layer.layer_scalar': 'layer_output_scale',
    'layer.per_layer_input_gate': 'inp_gate',
    'layer.per_layer_projection': 'proj',
    'layer.post_per_layer_input_norm': 'post_norm',
    embed_tokens_per_layer: 'per_layer_token_embd',
    per_layer_model_projection: 'per_layer_model_proj',
    per_layer_projection_norm: 'per_layer_proj_norm',
  },
  vocabulary: 'gemma4',
  metadata(source) {
    const { config, layers } = source
    const sliding = slides(source)
    const shared = config.count('num_kv_shared_layers', 0, 0)
    const [full, local] = [config.count('global_head_dim'), config.count('head_dim')]
    const width = config.count('intermediate_size')
    const entries: Entry[] = [
      ...softcap(source),
      ['attention.sliding_window', uint32(config.count('sliding_window'))],
      ['attention.shared_kv_layers', uint32(shared)],
      ['embedding_length_per_layer_input', uint32(config.count('hidden_size_per_layer_input', 0, 0))],
      ['attention.sliding_window_pattern', bools(sliding)],
      ['attention.key_length', uint32(full)],
      ['attention.value_length', uint32(full)],
      ['attention.key_length_swa', uint32(local)],
      ['attention.value_length_swa', uint32(local)],
      ['rope.dimension_count', uint32(full)],
      ['rope.dimension_count_swa', uint32(local)],
    ]
    if (config.value('use_double_wide_mlp') === true) {
      const widths = Array.from({ length: layers }, (_, layer) =>
        layer < layers - shared ? width : 2 * width,
      )
      entries.push(['feed_forward_length', int32s(widths)])
    }
    if (config.value('attention_k_eq_v') === true && config.has('num_global_key_value_heads')) {
      const [global, own] = [config.count('num_global_key_value_heads'), config.count('num_key_value_heads')]
      entries.push(['attention.head_count_kv', int32s(sliding.map((slide) => (slide ? own : global)))])
    }
    return entries
  },
  extra({ config, rope }) {
    const width = headWidth(config, 'global_head_dim')
    const rotated = Math.trunc((width * rope.full.number('partial_rotary_factor', 0.25)) / 2)
    // A pair that does not rotate has its frequency divided by a number beyond all contexts.
    const factors = Float32Array.from({ length: width / 2 }, (_, pair) => (pair < rotated ? 1 : 1e30))
    return [['rope_freqs.weight', vector(factors)]]
  },
  check(source) {
    const { config } = source
    slides(source)
    if (config.value('enable_moe_block') === true)
      throw new FileError(config.path, 'is a mixture of experts, which quench does not convert')
    checkRope(source, 'default', 'proportional')
  },
}
