/**
 * The Llama architecture: RMSNorm, rotary positions on interleaved pairs, grouped-query attention, SwiGLU; optional
 * biases; tied or separate output matrix. Tensor names and hyperparameters are GGUF's.
 */
import { FileError } from '../errors.js'
import type { Gguf } from '../gguf/index.js'
import { add, gather, matmul, mul, reshape, rmsNorm, silu, type Tensor, transpose } from '../graph/index.js'
import type { Architecture, Batch, ModelConfig } from './architecture.js'
import { causalAttention } from './attention.js'
import { blockCount, count, positive } from './hyperparameters.js'
import { type RopeTables, readRope, rotate } from './rope.js'

export interface LlamaConfig extends ModelConfig {
  readonly heads: number
  readonly kvHeads: number
  /** Width of one head; keys and values have the same. */
  readonly headWidth: number
  readonly feedForward: number
  readonly rope: RopeTables
  /** Names of the biases that the file has, such as `attn_q.bias`. */
  readonly biases: ReadonlySet<string>
}

const linear = ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'] as const

export const llama: Architecture<LlamaConfig> = {
  name: 'llama',

  async read(gguf: Gguf): Promise<LlamaConfig> {
    const { metadata, path } = gguf
    if (metadata.number('llama.expert_count', 0) > 0)
      throw new FileError(path, 'is a mixture of experts, which quench cannot train; use quench quantize')
    const width = count(metadata, 'llama.embedding_length')
    const heads = count(metadata, 'llama.attention.head_count')
    const kvHeads = count(metadata, 'llama.attention.head_count_kv', heads)
    if (heads % kvHeads !== 0)
      throw new FileError(
        path,
        `${heads} attention heads cannot share ${kvHeads} heads of keys; the file is damaged`,
      )
    const headWidth = count(metadata, 'llama.attention.key_length', width / heads)
    if (headWidth % 2 !== 0)
      throw new FileError(path, `heads of width ${headWidth} cannot be rotated in pairs; the file is damaged`)
    if (metadata.number('llama.attention.value_length', headWidth) !== headWidth)
      throw new FileError(path, 'has values of another width than its keys, which quench cannot train')
    const embedding = gguf.tensor('token_embd.weight')
    if (embedding.shape.length !== 2)
      throw new FileError(
        path,
        `token_embd.weight has the shape ${embedding.shape.join(' x ')}; the file is damaged`,
      )
    const names = gguf.tensors.map((t) => t.name)
    return {
      architecture: 'llama',
      layers: blockCount(metadata, 'llama'),
      width,
      vocabulary: embedding.shape[1],
      context: count(metadata, 'llama.context_length'),
      normEpsilon: positive(metadata, 'llama.attention.layer_norm_rms_epsilon'),
      tied: !gguf.has('output.weight'),
      heads,
      kvHeads,
      headWidth,
      feedForward: count(metadata, 'llama.feed_forward_length'),
      rope: await readRope(gguf, 'llama', headWidth),
      biases: new Set(names.filter((n) => /^blk\.0\..*\.bias$/.test(n)).map((n) => n.slice('blk.0.'.length))),
    }
  },

  outerTensors(c) {
    const shapes: Record<string, readonly number[]> = {
      'token_embd.weight': [c.vocabulary, c.width],
      'output_norm.weight': [c.width],
    }
    if (!c.tied) shapes['output.weight'] = [c.vocabulary, c.width]
    return shapes
  },

  blockTensors(c) {
    const q = c.heads * c.headWidth
    const kv = c.kvHeads * c.headWidth
    const shapes: Record<string, readonly number[]> = {
      'attn_norm.weight': [c.width],
      'attn_q.weight': [q, c.width],
      'attn_k.weight': [kv, c.width],
      'attn_v.weight': [kv, c.width],
      'attn_output.weight': [c.width, q],
      'ffn_norm.weight': [c.width],
      'ffn_gate.weight': [c.feedForward, c.width],
      'ffn_up.weight': [c.feedForward, c.width],
      'ffn_down.weight': [c.width, c.feedForward],
    }
    for (const name of linear)
      if (c.biases.has(`${name}.bias`)) shapes[`${name}.bias`] = [shapes[`${name}.weight`][0]]
    return shapes
  },

  block(c: LlamaConfig, x: Tensor, weights: Record<string, Tensor>, batch: Batch): Tensor {
    const project = (name: (typeof linear)[number], input: Tensor): Tensor => {
      const y = matmul(input, weights[`${name}.weight`], { transB: true })
      const bias = weights[`${name}.bias`]
      return bias ? add(y, bias) : y
    }
    const { windows, length } = batch
    const heads = (y: Tensor, count: number): Tensor => reshape(y, [windows, length, count, c.headWidth])

    const h = rmsNorm(x, weights['attn_norm.weight'], c.normEpsilon)
    const q = rotate(transpose(heads(project('attn_q', h), c.heads), [0, 2, 1, 3]), c.rope)
    const k = rotate(transpose(heads(project('attn_k', h), c.kvHeads), [0, 2, 1, 3]), c.rope)
    const v = transpose(heads(project('attn_v', h), c.kvHeads), [0, 2, 1, 3])
    const attended = causalAttention(q, k, v, 1 / Math.sqrt(c.headWidth)) // (windows, heads, length, headWidth)
    const o = reshape(transpose(attended, [0, 2, 1, 3]), [windows * length, c.heads * c.headWidth])
    const middle = add(x, project('attn_output', o))

    const g = rmsNorm(middle, weights['ffn_norm.weight'], c.normEpsilon)
    const gate = project('ffn_gate', g)
    const up = project('ffn_up', g)
    return add(middle, project('ffn_down', mul(silu(gate), up)))
  },

  embed: (_config, tokens, weights) => gather(weights['token_embd.weight'], tokens),

  head: (c, x, weights) =>
    matmul(
      rmsNorm(x, weights['output_norm.weight'], c.normEpsilon),
      weights[c.tied ? 'token_embd.weight' : 'output.weight'],
      { transB: true },
    ),
}
