/** Llama 2 and 3, Mistral, and SmolLM3, which is Llama with layers that do not rotate. */
import { FileError } from '../errors.js'
import { type Conversion, checkFixed, headWidth, type Source } from './architecture.js'
import { interleaved, vector } from './rows.js'
import { type Entry, uint32 } from './values.js'

/** In llama.cpp every fourth layer of SmolLM3 does not rotate. */
const smollmStep = 4

const base = {
  vocabulary: 'llama',
  metadata: ({ config }: Source): Entry[] => [
    ['vocab_size', uint32(config.count('vocab_size'))],
    ['rope.dimension_count', uint32(headWidth(config))],
  ],
  change(name, rows, { config }) {
    const heads = config.count('num_attention_heads')
    if (/\.attn_q\.(weight|bias)$/.test(name)) return interleaved(rows, heads, config)
    if (/\.attn_k\.(weight|bias)$/.test(name))
      return interleaved(rows, config.count('num_key_value_heads', heads), config)
    return rows
  },
  extra({ config, rope }: Source) {
    const factors = rope.llama3Factors(headWidth(config))
    return factors ? [['rope_freqs.weight', vector(factors)]] : []
  },
} satisfies Partial<Conversion>

const defaults = { rms_norm_eps: 1e-6, rope_theta: 10000 }

export const llama: Conversion = {
  ...base,
  name: 'llama',
  metadata: (source) => {
    const width = uint32(headWidth(source.config))
    return [...base.metadata(source), ['attention.key_length', width], ['attention.value_length', width]]
  },
  classes: ['LlamaForCausalLM', 'LLaMAForCausalLM', 'MistralForCausalLM'],
  defaults: { ...defaults, max_position_embeddings: 2048, vocab_size: 32000 },
}

export const smollm3: Conversion = {
  ...base,
  name: 'smollm3',
  classes: ['SmolLM3ForCausalLM'],
  defaults: {
    ...defaults,
    max_position_embeddings: 32768,
    rope_theta: 2e6,
    num_key_value_heads: 4,
    vocab_size: 128256,
  },
  check({ config, layers }) {
    const rotates = Array.from({ length: layers }, (_, layer) => Number((layer + 1) % smollmStep !== 0))
    checkFixed(config, 'no_rope_layers', rotates, 'is not every fourth layer')
    if (config.value('use_sliding_window') === true)
      throw new FileError(config.path, 'has layers with a window, which llama.cpp does not run for SmolLM3')
  },
}
