/**
 * Llama-style decoders, built from a declaration: a norm, attention with rotary positions, a norm, a gated feed-forward
 * network, each added to the residual stream; then a norm and the output matrix. Each architecture's own file declares its
 * differences. Tensor names and hyperparameters are GGUF's.
 */
import { FileError } from '../errors.js'
import type { Gguf } from '../gguf/index.js'
import { add, mul, rmsNorm, softcap, type Tensor } from '../graph/index.js'
import type { Architecture, ModelConfig, Shapes } from './architecture.js'
import { type AttentionConfig, attention } from './attention.js'
import { feedForward, project } from './feed-forward.js'
import { blockCount, count, positive } from './hyperparameters.js'
import { type Pairs, readRope } from './rope.js'

export interface BlockConfig {
  /** Blocks of one kind with equal tensors compute the same. */
  readonly kind: string
  readonly attention: AttentionConfig
  readonly feedForward: number
}

export interface DecoderConfig extends ModelConfig {
  /** One for each layer. */
  readonly blocks: readonly BlockConfig[]
  /** Names of the file's optional tensors, such as `blk.0.attn_q.bias`. */
  readonly tensors: ReadonlySet<string>
  /** Factor on the token embedding. */
  readonly embeddingScale: number
  /** Logits are soft-capped to (-cap, cap); 0: no cap. */
  readonly logitCap: number
}

/** Head counts, which most decoders state once for all layers. */
export interface HeadCounts {
  readonly heads: number
  readonly kvHeads: number
  readonly headWidth: number
}

export interface Declaration {
  readonly name: string
  /** Which values of a head rotate together. */
  readonly pairs: Pairs
  readonly activation: (x: Tensor) => Tensor
  /** Norms of the queries and keys of each head. */
  readonly queryKeyNorms?: boolean
  /** Norms of the outputs of attention and feed-forward, before they are added to the residual stream. */
  readonly postNorms?: boolean
  /** Matrices that have a bias in some models: `output` and those of blocks; `attn_qkv` stands for the three joined. */
  readonly biases: readonly string[]
  /** `rope_freqs.weight` divides the rotary frequencies if a file has it. */
  readonly dividedFrequencies?: boolean
  /** The hyperparameters of every block, if they differ between blocks. */
  readonly readBlocks?: (gguf: Gguf, config: ModelConfig) => Promise<readonly BlockConfig[]>
  /** The token embedding is multiplied by the square root of its width. */
  readonly scaledEmbedding?: boolean
  /** Whether llama.cpp reads scales of the tensors of the feed-forward network too, besides those of attention. */
  readonly feedForwardScales: boolean
  /** Logits are capped: the default cap of files that state none, 0 for no cap. */
  readonly logitCap?: number
}

/** @throws FileError for a mixture of experts and for multi-token prediction layers */
function refuseVariants({ metadata, path }: Gguf, architecture: string): void {
  if (metadata.number(`${architecture}.expert_count`, 0) > 0)
    throw new FileError(path, 'is a mixture of experts, which quench cannot train; use quench quantize')
  if (metadata.number(`${architecture}.nextn_predict_layers`, 0) > 0)
    throw new FileError(
      path,
      'has layers that predict further tokens, which quench cannot train; use quench quantize',
    )
}

/** Hyperparameters that every decoder states. @throws FileError */
function readModelConfig(gguf: Gguf, architecture: string): ModelConfig {
  const { metadata, path } = gguf
  refuseVariants(gguf, architecture)
  const embedding = gguf.tensor('token_embd.weight')
  if (embedding.shape.length !== 2)
    throw new FileError(
      path,
      `token_embd.weight has the shape ${embedding.shape.join(' x ')}; the file is damaged`,
    )
  return {
    architecture,
    layers: blockCount(metadata, architecture),
    width: count(metadata, `${architecture}.embedding_length`),
    vocabulary: embedding.shape[1],
    context: count(metadata, `${architecture}.context_length`),
    normEpsilon: positive(metadata, `${architecture}.attention.layer_norm_rms_epsilon`),
    tied: !gguf.has('output.weight'),
  }
}

/** @throws FileError if the head counts are inconsistent */
export function checkHeads({ path }: Gguf, { heads, kvHeads, headWidth }: HeadCounts): void {
  if (heads % kvHeads !== 0)
    throw new FileError(
      path,
      `${heads} attention heads cannot share ${kvHeads} heads of keys; the file is damaged`,
    )
  if (headWidth % 2 !== 0)
    throw new FileError(path, `heads of width ${headWidth} cannot be rotated in pairs; the file is damaged`)
}

/** Heads that are the same in every layer. @throws FileError */
export function readHeads(gguf: Gguf, { architecture, width }: ModelConfig): HeadCounts {
  const { metadata, path } = gguf
  const key = (name: string): string => `${architecture}.attention.${name}`
  const heads = count(metadata, key('head_count'))
  const kvHeads = count(metadata, key('head_count_kv'), heads)
  const headWidth = count(metadata, key('key_length'), width / heads)
  checkHeads(gguf, { heads, kvHeads, headWidth })
  if (metadata.number(key('value_length'), Math.floor(width / heads)) !== headWidth)
    throw new FileError(path, 'has values of another width than its keys, which quench cannot train')
  return { heads, kvHeads, headWidth }
}

/** The logits' cap, 0 for none. @throws FileError */
function readLogitCap({ metadata }: Gguf, architecture: string, fallback: number): number {
  const key = `${architecture}.final_logit_softcapping`
  return metadata.number(key, fallback) === 0 ? 0 : positive(metadata, key, fallback)
}

/** Names of all tensors. @throws FileError for biases that quench does not support */
function tensorNames({ path, tensors }: Gguf): ReadonlySet<string> {
  const names = new Set(tensors.map((t) => t.name))
  for (const name of names)
    if (/\.attn_[qkv]\.bias$/.test(name) && names.has(name.replace(/attn_[qkv]\.bias/, 'attn_qkv.weight')))
      throw new FileError(
        path,
        `${name} belongs to a matrix that is joined with others, which quench cannot train; convert the model anew`,
      )
  return names
}

/**
 * Tensors of the feed-forward network and of attention with its own keys and values, without biases. `joined`: the matrices of
 * queries, keys and values are one.
 */
function matrices(
  width: number,
  { attention, feedForward }: BlockConfig,
  joined: boolean,
): Record<string, number[]> {
  const q = attention.heads * attention.headWidth
  const kv = attention.kvHeads * attention.headWidth
  return {
    'attn_norm.weight': [width],
    ...(joined
      ? { 'attn_qkv.weight': [q + 2 * kv, width] }
      : { 'attn_q.weight': [q, width], 'attn_k.weight': [kv, width], 'attn_v.weight': [kv, width] }),
    'attn_output.weight': [width, q],
    'ffn_norm.weight': [width],
    'ffn_gate.weight': [feedForward, width],
    'ffn_up.weight': [feedForward, width],
    'ffn_down.weight': [width, feedForward],
  }
}

/** The architecture of a declaration. */
export function decoder(declared: Declaration): Architecture<DecoderConfig> {
  const { name, activation } = declared

  /** Identical blocks: no window, products divided by the root of the head's width. */
  async function equalBlocks(gguf: Gguf, config: ModelConfig): Promise<readonly BlockConfig[]> {
    const heads = readHeads(gguf, config)
    const rope = await readRope(gguf, name, heads.headWidth, {
      pairs: declared.pairs,
      divided: declared.dividedFrequencies ?? false,
    })
    const block: BlockConfig = {
      kind: 'global',
      attention: { ...heads, rope, scale: 1 / Math.sqrt(heads.headWidth) },
      feedForward: count(gguf.metadata, `${name}.feed_forward_length`),
    }
    return new Array<BlockConfig>(config.layers).fill(block)
  }

  return {
    name,

    async read(gguf) {
      const config = readModelConfig(gguf, name)
      const blocks = await (declared.readBlocks ?? equalBlocks)(gguf, config)
      return {
        ...config,
        blocks,
        tensors: tensorNames(gguf),
        embeddingScale: declared.scaledEmbedding ? Math.sqrt(config.width) : 1,
        logitCap: declared.logitCap === undefined ? 0 : readLogitCap(gguf, name, declared.logitCap),
      }
    },

    tables: (c) => ({ 'token_embd.weight': [c.vocabulary, c.width] }),
    embedTensors: () => ({}),

    headTensors(c) {
      const shapes: Record<string, number[]> = {
        'output_norm.weight': [c.width],
        [c.tied ? 'token_embd.weight' : 'output.weight']: [c.vocabulary, c.width],
      }
      if (declared.biases.includes('output') && c.tensors.has('output.bias'))
        shapes['output.bias'] = [c.vocabulary]
      return shapes
    },

    blockTensors(c, layer): Shapes {
      const block = c.blocks[layer]
      const has = (tensor: string): boolean => c.tensors.has(`blk.${layer}.${tensor}`)
      const shapes = matrices(c.width, block, has('attn_qkv.weight'))
      const { headWidth } = block.attention
      if (declared.queryKeyNorms)
        for (const norm of ['attn_q_norm', 'attn_k_norm']) shapes[`${norm}.weight`] = [headWidth]
      if (declared.postNorms)
        for (const norm of ['post_attention_norm', 'post_ffw_norm']) shapes[`${norm}.weight`] = [c.width]
      for (const matrix of declared.biases)
        if (shapes[`${matrix}.weight`] && has(`${matrix}.bias`))
          shapes[`${matrix}.bias`] = [shapes[`${matrix}.weight`][0]]
      return shapes
    },

    readsScale: (name) =>
      /^attn_(q|k|v|output)\.weight$/.test(name) ||
      (declared.feedForwardScales && /^ffn_(gate|up|down)\.weight$/.test(name)),

    kind: (c, layer) => c.blocks[layer].kind,
    consumes: () => ({}),
    produces: () => ({}),

    embed: (c, rows) => {
      const x = rows['token_embd.weight']
      return { x: c.embeddingScale === 1 ? x : mul(x, c.embeddingScale) }
    },

    block(c, layer, { x }, weights, batch) {
      const norm = (norm: string, y: Tensor): Tensor => rmsNorm(y, weights[`${norm}.weight`], c.normEpsilon)
      const after = (name: string, y: Tensor): Tensor => (declared.postNorms ? norm(name, y) : y)
      const { attention: config } = c.blocks[layer]
      const epsilon = c.normEpsilon
      const attended = attention(norm('attn_norm', x), weights, config, { epsilon }, batch)
      const middle = add(x, after('post_attention_norm', attended.y))
      const y = feedForward(norm('ffn_norm', middle), weights, activation)
      return { x: add(middle, after('post_ffw_norm', y)) }
    },

    head(c, x, weights) {
      const normed = rmsNorm(x, weights['output_norm.weight'], c.normEpsilon)
      const output = {
        'output.weight': weights[c.tied ? 'token_embd.weight' : 'output.weight'],
        'output.bias': weights['output.bias'],
      }
      const logits = project('output', normed, output)
      return c.logitCap > 0 ? softcap(logits, c.logitCap) : logits
    },
  }
}
