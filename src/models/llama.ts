/**
 * Llama 2 and 3, and what shares their architecture: TinyLlama, SmolLM2, Mistral. Optional biases; rotary frequencies
 * divided by `rope_freqs.weight` in Llama 3.1 and later. A sliding window in the metadata is not applied, as in llama.cpp.
 */
import { silu } from '../graph/index.js'
import { decoder } from './decoder.js'

export const llama = decoder({
  name: 'llama',
  feedForwardScales: true,
  pairs: 'neighbours',
  activation: silu,
  biases: ['attn_qkv', 'attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'],
  dividedFrequencies: true,
})
