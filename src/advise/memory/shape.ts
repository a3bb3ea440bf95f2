/**
 * What of a model's header decides its memory: layer by layer the heads, the width of keys and values, windows and which
 * layers keep a cache at all. Numbers of a file are a stranger's, so each is checked before anything is computed from it.
 * Source: load_hparams and load_arch_hparams of llama.cpp v0.5.0.
 */
import { FileError } from '../../errors.js'
import { blockCount, count, countPerLayer, optionalCount } from '../../models/hyperparameters.js'
import { recurrentWidths } from './recurrent.js'
import { type Style, styleOf } from './styles.js'
import type { GgufHeader } from './types.js'
import { sharedFrom, windowOf } from './windows.js'

export interface LayerShape {
  readonly heads: number
  readonly headsKV: number
  /** Of one head. */
  readonly keyWidth: number
  readonly valueWidth: number
  /** Whether it attends within the model's window only. */
  readonly sliding: boolean
  /** Whether it has keys and values of its own. */
  readonly cached: boolean
  /** Whether it has a recurrent state, as the linear layers of hybrid models. */
  readonly recurrent: boolean
}

export interface ModelShape {
  readonly architecture: string
  readonly width: number
  readonly vocabulary: number
  /** Without the extra ones that predict several tokens ahead. */
  readonly layers: readonly LayerShape[]
  /** Tokens; 0 if all layers see everything. */
  readonly window: number
  /** Whether keys and values are one compressed vector (multi-head latent attention). */
  readonly latent: boolean
  /** Numbers of a recurrent layer per sequence (F32). */
  readonly recurrentWidth: number
  readonly experts: number
  readonly expertsUsed: number
  /** Of all tensors. */
  readonly names: ReadonlySet<string>
  readonly style: Style
}

/** What of it the cache depends on. */
export type CacheShape = Pick<ModelShape, 'layers' | 'window' | 'latent' | 'recurrentWidth'>

/** Lengths of what a matrix reads and writes, by its full name; 0 for one that the file lacks. */
export interface Widths {
  readonly input: (name: string) => number
  readonly output: (name: string) => number
}

/** @throws FileError for a header without what every model has, or with a number that none has */
export function shapeOf(header: GgufHeader): ModelShape {
  const { metadata, tensors, path } = header
  const architecture = metadata.string('general.architecture')
  const key = (name: string): string => `${architecture}.${name}`
  const all = blockCount(metadata, architecture)
  const ahead = Math.min(optionalCount(metadata, key('nextn_predict_layers')), all - 1)
  const layers = all - ahead
  const names = new Set(tensors.map(({ name }) => name))
  const width = count(metadata, key('embedding_length'))
  const embedding = tensors.find(({ name }) => name === 'token_embd.weight')
  if (!embedding) throw new FileError(path, 'has no token embedding, so it is not a whole language model')
  const vocabulary = embedding.shape[1] ?? 1
  const perLayer = (name: string, fallback: readonly number[]): readonly number[] =>
    metadata.has(key(name)) ? optionalPerLayer(header, key(name), all) : fallback
  const heads = perLayer('attention.head_count', new Array<number>(all).fill(0))
  const headsKV = perLayer('attention.head_count_kv', heads)
  const most = Math.max(...heads)
  const headWidth = most > 0 ? Math.floor(width / most) : 0
  const widthOf = (name: string, fallback: number): number =>
    metadata.has(key(name)) ? count(metadata, key(name)) : fallback
  const keyWidth = widthOf('attention.key_length', headWidth)
  const valueWidth = widthOf('attention.value_length', headWidth)
  const { window, sliding } = windowOf(metadata, architecture, all)
  const from = sharedFrom(metadata, architecture, all)
  const { width: recurrentWidth, recurrent } = recurrentWidths(header, architecture, most)
  const experts = optionalCount(metadata, key('expert_count'))
  const expertsUsed = Math.max(0, ...perLayer('expert_used_count', [0]))
  if (experts > mostExperts || expertsUsed > experts)
    throw new FileError(path, `its header names ${expertsUsed} of ${experts} experts, which no model has`)
  return {
    architecture,
    width,
    vocabulary,
    layers: Array.from({ length: layers }, (_, i) => ({
      heads: heads[i],
      headsKV: headsKV[i],
      keyWidth: sliding[i] ? widthOf('attention.key_length_swa', keyWidth) : keyWidth,
      valueWidth: sliding[i] ? widthOf('attention.value_length_swa', valueWidth) : valueWidth,
      sliding: sliding[i],
      cached: i < from && headsKV[i] > 0 && !(recurrent(i) && !both.has(architecture)),
      recurrent: recurrent(i),
    })),
    window,
    latent: metadata.has(key('attention.key_length_mla')),
    recurrentWidth,
    experts,
    expertsUsed,
    names,
    style: styleOf(metadata, architecture, names),
  }
}

/** More than any model has, and twice llama.cpp's limit. */
const mostExperts = 1024

/** Hybrid architectures whose layers have both a recurrent state and a cache. */
const both = new Set(['falcon-h1'])

/** A count for each layer, 0 for layers without any. */
function optionalPerLayer({ metadata, path }: GgufHeader, key: string, layers: number): readonly number[] {
  if (metadata.get(key)?.type !== 'array') return countPerLayer(metadata, key, layers)
  const values = metadata.numbers(key)
  const fits = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= 2 ** 24
  if (values.length >= layers && values.every(fits)) return values
  throw new FileError(path, `the metadata key ${key} should hold ${layers} counts`)
}
