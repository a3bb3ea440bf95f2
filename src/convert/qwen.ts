/** Qwen 2 and Qwen 3, dense. */
import { FileError } from '../errors.js'
import { type Conversion, checkRope } from './architecture.js'

const defaults = {
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  max_position_embeddings: 32768,
  vocab_size: 151936,
  num_key_value_heads: 32,
}

const base = {
  vocabulary: 'qwen',
  metadata: () => [],
  check(source) {
    const { config } = source
    checkRope(source, 'default', 'linear', 'yarn', 'dynamic')
    if (config.value('use_sliding_window') === true)
      throw new FileError(config.path, 'has layers with a window, which llama.cpp does not run for Qwen')
  },
} satisfies Partial<Conversion>

export const qwen2: Conversion = { ...base, name: 'qwen2', classes: ['Qwen2ForCausalLM'], defaults }

export const qwen3: Conversion = {
  ...base,
  name: 'qwen3',
  classes: ['Qwen3ForCausalLM'],
  defaults: { ...defaults, head_dim: 128 },
}
