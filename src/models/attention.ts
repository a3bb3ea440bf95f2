/**
 * Attention of one block: causal, grouped queries, rotary positions, optionally within a sliding window, with norms of
 * queries, keys and values, and optionally with another layer's keys and values.
 */
import {
  add,
  constant,
  matmul,
  mul,
  reshape,
  rmsNorm,
  slice,
  softmax,
  type Tensor,
  transpose,
} from '../graph/index.js'
import type { Batch, Tensors } from './architecture.js'
import { project } from './feed-forward.js'
import { type Rope, rotate } from './rope.js'

export interface AttentionConfig {
  readonly heads: number
  readonly kvHeads: number
  /** Width of one head, the same for keys and values. */
  readonly headWidth: number
  readonly rope: Rope
  /** Positions that a query sees, including its own; if undefined, all earlier ones. */
  readonly window?: number
  /** Factor on the products of queries and keys. */
  readonly scale: number
}

/** Keys, rotated, and values: (windows, kvHeads, length, headWidth) each. */
export interface KeysValues {
  readonly keys: Tensor
  readonly values: Tensor
}

/** Norms of heads, over their width. `values` makes the root mean square 1 and has no weight. */
export interface HeadNorms {
  readonly epsilon: number
  readonly values?: boolean
}

/**
 * Attention on h, (windows * length, width), with the matrices `attn_q`, `attn_k`, `attn_v`, `attn_output`. Their biases and
 * the norms `attn_q_norm` and `attn_k_norm` apply if they are among the weights, and `attn_qkv` stands for the first three
 * joined. Without `attn_v` the keys before norm and rotation serve as values. `given` replaces the layer's own keys and
 * values.
 */
export function attention(
  h: Tensor,
  weights: Tensors,
  config: AttentionConfig,
  norms: HeadNorms,
  { windows, length }: Batch,
  given?: KeysValues,
): KeysValues & { readonly y: Tensor } {
  const { heads, kvHeads, headWidth, rope } = config
  const split = (y: Tensor, count: number): Tensor =>
    transpose(reshape(y, [windows, length, count, headWidth]), [0, 2, 1, 3])
  const turned = (y: Tensor, norm: Tensor | undefined): Tensor =>
    rotate(norm ? rmsNorm(y, norm, norms.epsilon) : y, rope)

  const matrix = projections(h, weights, config)
  const q = turned(split(matrix('attn_q'), heads), weights['attn_q_norm.weight'])
  const own = (): KeysValues => {
    const k = split(matrix('attn_k'), kvHeads)
    const v = weights['attn_k.weight'] && !weights['attn_v.weight'] ? k : split(matrix('attn_v'), kvHeads)
    const ones = constant(new Float32Array(headWidth).fill(1))
    return {
      keys: turned(k, weights['attn_k_norm.weight']),
      values: norms.values ? rmsNorm(v, ones, norms.epsilon) : v,
    }
  }
  const { keys, values } = given ?? own()
  const attended = causalAttention(q, keys, values, config.scale, config.window)
  const joined = reshape(transpose(attended, [0, 2, 1, 3]), [windows * length, heads * headWidth])
  return { y: project('attn_output', joined, weights), keys, values }
}

type Projection = 'attn_q' | 'attn_k' | 'attn_v'

/** The projections of h to queries, keys and values, by three matrices or a joined one. */
function projections(
  h: Tensor,
  weights: Tensors,
  { heads, kvHeads, headWidth }: AttentionConfig,
): (name: Projection) => Tensor {
  if (!weights['attn_qkv.weight']) return (name) => project(name, h, weights)
  const all = project('attn_qkv', h, weights)
  const q = heads * headWidth
  const kv = kvHeads * headWidth
  const start = { attn_q: 0, attn_k: q, attn_v: q + kv }
  return (name) => slice(all, 1, start[name], start[name] + (name === 'attn_q' ? q : kv))
}

/** Zero where position i may attend to position j, a large negative number elsewhere: (copies * length, length). */
function causalMask(length: number, copies: number, window = length): Tensor {
  const mask = new Float32Array(copies * length * length)
  for (let row = 0; row < copies * length; row++) {
    const position = row % length
    const start = row * length
    mask.fill(-1e30, start, start + Math.max(0, position - window + 1))
    mask.fill(-1e30, start + position + 1, start + length)
  }
  return constant(mask, [copies * length, length])
}

/**
 * q is (windows, heads, length, headWidth), k and v are (windows, kvHeads, length, headWidth); query heads share the
 * keys of their group, so a group's queries are stacked into one matrix instead of copying the keys.
 */
function causalAttention(q: Tensor, k: Tensor, v: Tensor, scale: number, window?: number): Tensor {
  const [windows, heads, length, headWidth] = q.shape
  const kvHeads = k.shape[1]
  const group = heads / kvHeads
  const scaled = scale === 1 ? q : mul(q, scale)
  const stacked = reshape(scaled, [windows, kvHeads, group * length, headWidth])
  const scores = matmul(stacked, k, { transB: true }) // (windows, kvHeads, group * length, length)
  const probabilities = softmax(add(scores, causalMask(length, group, window)))
  return reshape(matmul(probabilities, v), [windows, heads, length, headWidth])
}
