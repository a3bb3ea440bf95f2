/** Qwen 3: like Qwen 2, with norms of the queries and keys of each head. */
import { silu } from '../graph/index.js'
import { decoder } from './decoder.js'

export const qwen3 = decoder({
  name: 'qwen3',
  feedForwardScales: true,
  pairs: 'halves',
  activation: silu,
  queryKeyNorms: true,
  biases: ['attn_qkv', 'attn_q', 'attn_k', 'attn_v'],
})
