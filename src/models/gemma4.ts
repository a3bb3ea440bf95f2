/**
 * Gemma 4, text, dense sizes (E2B, E4B, 12B, 31B). Differences from Gemma 3:
 *
 * - sliding and global layers have heads of different width and number, and global ones rotate a part of each head (the other
 *   frequencies are divided by 1e30 in `rope_freqs.weight`);
 * - products of queries and keys are not scaled; values are normed, and the keys serve as values if `attn_v` is missing;
 * - the last layers have no keys and values: they read those of the last layer of their kind that has;
 * - small models have an additional token embedding per layer, gated by the layer's own output;
 * - the output of a layer is scaled by a factor of its own.
 */
import { FileError } from '../errors.js'
import type { Gguf } from '../gguf/index.js'
import { add, gelu, mul, reshape, rmsNorm, type Tensor, transpose } from '../graph/index.js'
import type { Architecture, Batch, ModelConfig, Shapes, Source } from './architecture.js'
import { type AttentionConfig, attention } from './attention.js'
import { type BlockConfig, checkHeads, type DecoderConfig, decoder } from './decoder.js'
import { feedForward, project } from './feed-forward.js'
import { count, countPerLayer, flagPerLayer, optionalCount } from './hyperparameters.js'
import { type Rope, readRope } from './rope.js'

interface Gemma4Config extends DecoderConfig {
  /** Width of the per-layer embedding; 0: there is none. */
  readonly perLayerWidth: number
  /** For each layer, the one whose keys and values it reads; undefined for layers with their own. */
  readonly sources: readonly (number | undefined)[]
}

/** Heads and rotation of the layers of a kind. */
interface Heads {
  readonly kind: string
  readonly headWidth: number
  readonly rope: Rope
  readonly window?: number
}

async function readHeads(gguf: Gguf, sliding: boolean, fallback: number): Promise<Heads> {
  const { metadata, path } = gguf
  const suffix = sliding ? '_swa' : ''
  const key = (name: string): string => `gemma4.attention.${name}${suffix}`
  const headWidth = sliding
    ? count(metadata, key('key_length'))
    : count(metadata, key('key_length'), fallback)
  if (metadata.number(key('value_length'), fallback) !== headWidth)
    throw new FileError(path, 'has values of another width than its keys, which quench cannot train')
  checkHeads(gguf, { heads: 1, kvHeads: 1, headWidth })
  const rules = { pairs: 'halves', partial: true, divided: true, sliding } as const
  const rope = await readRope(gguf, 'gemma4', headWidth, rules)
  if (!sliding) return { kind: 'global', headWidth, rope }
  return { kind: 'sliding', headWidth, rope, window: count(metadata, 'gemma4.attention.sliding_window') }
}

async function readBlocks(gguf: Gguf, { layers, width }: ModelConfig): Promise<readonly BlockConfig[]> {
  const { metadata } = gguf
  const perLayer = (name: string): readonly number[] => countPerLayer(metadata, `gemma4.${name}`, layers)
  const slides = flagPerLayer(metadata, 'gemma4.attention.sliding_window_pattern', layers)
  const heads = perLayer('attention.head_count')
  const kvHeads = metadata.has('gemma4.attention.head_count_kv') ? perLayer('attention.head_count_kv') : heads
  const widths = perLayer('feed_forward_length')
  const fallback = Math.floor(width / heads[0])
  const global = slides.includes(false) ? await readHeads(gguf, false, fallback) : undefined
  const sliding = slides.includes(true) ? await readHeads(gguf, true, fallback) : undefined
  return slides.map((slide, layer) => {
    const { kind, ...rest } = (slide ? sliding : global) as Heads
    const attention: AttentionConfig = { ...rest, heads: heads[layer], kvHeads: kvHeads[layer], scale: 1 }
    checkHeads(gguf, attention)
    return { kind, attention, feedForward: widths[layer] }
  })
}

/** The source of each layer's keys and values. @throws FileError if a layer has none to read from */
function readSources(gguf: Gguf, blocks: readonly BlockConfig[]): (number | undefined)[] {
  const shared = optionalCount(gguf.metadata, 'gemma4.attention.shared_kv_layers')
  const own = blocks.length - shared
  return blocks.map(({ kind, attention }, layer) => {
    if (layer < own) return undefined
    const source = own - (kind === 'sliding' ? 2 : 1)
    const from = blocks[source]
    if (from?.kind !== kind || from.attention.kvHeads !== attention.kvHeads)
      throw new FileError(
        gguf.path,
        `layer ${layer} has no keys and values, and layer ${source}, whose it should read, is of another kind; the file is damaged`,
      )
    return source
  })
}

const base = decoder({
  name: 'gemma4',
  feedForwardScales: true,
  pairs: 'halves',
  activation: gelu,
  queryKeyNorms: true,
  postNorms: true,
  biases: [],
  scaledEmbedding: true,
  logitCap: 30,
  readBlocks,
})

/** The per-layer embeddings of all layers, (layers, tokens, perLayerWidth). */
const perLayerInputs = 'per-layer inputs'

export const gemma4: Architecture<Gemma4Config> = {
  ...base,

  async read(gguf) {
    const config = await base.read(gguf)
    const key = 'gemma4.embedding_length_per_layer_input'
    return {
      ...config,
      perLayerWidth: gguf.metadata.number(key) === 0 ? 0 : count(gguf.metadata, key),
      sources: readSources(gguf, config.blocks),
    }
  },

  tables(c): Shapes {
    if (c.perLayerWidth === 0) return base.tables(c)
    return { ...base.tables(c), 'per_layer_token_embd.weight': [c.vocabulary, c.layers * c.perLayerWidth] }
  },

  embedTensors(c): Shapes {
    if (c.perLayerWidth === 0) return {}
    return {
      'per_layer_model_proj.weight': [c.layers * c.perLayerWidth, c.width],
      'per_layer_proj_norm.weight': [c.perLayerWidth],
    }
  },

  blockTensors(c, layer): Shapes {
    const shapes: Record<string, readonly number[]> = { ...base.blockTensors(c, layer) }
    const has = (name: string): boolean => c.tensors.has(`blk.${layer}.${name}`)
    if (!has('attn_v.weight')) delete shapes['attn_v.weight']
    if (c.sources[layer] !== undefined)
      for (const name of ['attn_k', 'attn_v', 'attn_k_norm']) delete shapes[`${name}.weight`]
    if (c.perLayerWidth > 0) {
      shapes['inp_gate.weight'] = [c.perLayerWidth, c.width]
      shapes['proj.weight'] = [c.width, c.perLayerWidth]
      shapes['post_norm.weight'] = [c.width]
    }
    if (has('layer_output_scale.weight')) shapes['layer_output_scale.weight'] = [1]
    return shapes
  },

  consumes(c, layer, { windows, length }: Batch): Record<string, Source> {
    const reads: Record<string, Source> = {}
    if (c.perLayerWidth > 0)
      reads.perLayer = { from: perLayerInputs, shape: [windows * length, c.perLayerWidth], piece: layer }
    const source = c.sources[layer]
    if (source !== undefined) {
      const { kvHeads, headWidth } = c.blocks[source].attention
      const shape = [windows, kvHeads, length, headWidth]
      for (const name of ['keys', 'values']) reads[name] = { from: `${name} ${source}`, shape }
    }
    return reads
  },

  produces(c, layer): Record<string, string> {
    return c.sources.includes(layer) ? { keys: `keys ${layer}`, values: `values ${layer}` } : {}
  },

  embed(c, rows, weights) {
    const { x } = base.embed(c, rows, weights)
    if (c.perLayerWidth === 0) return { x }
    const { layers, perLayerWidth: width } = c
    const split = (y: Tensor): Tensor => reshape(y, [x.shape[0], layers, width])
    const projected = mul(project('per_layer_model_proj', x, weights), 1 / Math.sqrt(c.width))
    const normed = rmsNorm(split(projected), weights['per_layer_proj_norm.weight'], c.normEpsilon)
    const chosen = mul(split(rows['per_layer_token_embd.weight']), Math.sqrt(width))
    const both = mul(add(normed, chosen), Math.SQRT1_2)
    return { x, [perLayerInputs]: transpose(both, [1, 0, 2]) }
  },

  block(c, layer, { x, perLayer, keys, values }, weights, batch) {
    const norm = (name: string, y: Tensor): Tensor => rmsNorm(y, weights[`${name}.weight`], c.normEpsilon)
    const { attention: config } = c.blocks[layer]
    const norms = { epsilon: c.normEpsilon, values: true }
    const given = keys && { keys, values }
    const attended = attention(norm('attn_norm', x), weights, config, norms, batch, given)
    const middle = add(x, norm('post_attention_norm', attended.y))
    let y = add(middle, norm('post_ffw_norm', feedForward(norm('ffn_norm', middle), weights, gelu)))
    if (perLayer) {
      const gated = mul(gelu(project('inp_gate', y, weights)), perLayer)
      y = add(y, norm('post_norm', project('proj', gated, weights)))
    }
    const scale = weights['layer_output_scale.weight']
    return { x: scale ? mul(y, scale) : y, keys: attended.keys, values: attended.values }
  },
}
