/** Qwen 2 and 2.5: Llama with pairs from the halves of a head and biases of queries, keys and values. */
import { silu } from '../graph/index.js'
import { decoder } from './decoder.js'

export const qwen2 = decoder({
  name: 'qwen2',
  feedForwardScales: false,
  pairs: 'halves',
  activation: silu,
  biases: ['attn_qkv', 'attn_q', 'attn_k', 'attn_v', 'output'],
})
