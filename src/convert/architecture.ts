/** What the conversion of an architecture has to say, and what several of them share. */
import type { Fields } from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import { quote } from '../gguf/index.js'
import type { Rope } from './rope.js'
import type { Rows } from './rows.js'
import { type Entry, float32, uint32 } from './values.js'

/** What of a checkpoint an architecture goes by. */
export interface Source {
  /** The class that `architectures` of config.json names. */
  readonly className: string
  /** The configuration of the text model, with defaults. */
  readonly config: Fields
  readonly layers: number
  readonly rope: Rope
}

export interface Conversion {
  /** `general.architecture` */
  readonly name: string
  /** Names in `architectures` of config.json that are converted so. */
  readonly classes: readonly string[]
  /** What the configuration's class in Transformers has by default. */
  readonly defaults: Readonly<Record<string, unknown>>
  /** Names of the norms of a layer where they differ from Llama's, and names of tensors that Llama does not have. */
  readonly names?: Readonly<Record<string, string>>
  /** Which tokenizers it has, where that is not to be seen in the files. */
  readonly vocabulary: 'llama' | 'qwen' | 'gemma3' | 'gemma4'
  /** Metadata below the architecture's name, beyond what `commonMetadata` gives; of two equal keys the last counts. */
  metadata(source: Source): readonly Entry[]
  /** @param name in the GGUF file */
  change?(name: string, rows: Rows, source: Source): Rows
  /** Tensors that the checkpoint does not have, by their name in the GGUF file. */
  extra?(source: Source): readonly (readonly [name: string, rows: Rows])[]
  /** @throws FileError for what the architecture cannot run in llama.cpp */
  check?(source: Source): void
}

/** Metadata that every architecture has, without the architecture's name before it. */
export function commonMetadata({ config, layers, rope }: Source): Entry[] {
  const heads = config.count('num_attention_heads')
  const entries: Entry[] = [
    ['block_count', uint32(layers)],
    ['context_length', uint32(config.count('max_position_embeddings'))],
    ['embedding_length', uint32(config.count('hidden_size'))],
    ['feed_forward_length', uint32(config.count('intermediate_size'))],
    ['attention.head_count', uint32(heads)],
    ['attention.head_count_kv', uint32(config.count('num_key_value_heads', heads))],
    ...rope.metadata(),
    ['attention.layer_norm_rms_epsilon', float32(config.number('rms_norm_eps'))],
  ]
  if (config.has('head_dim')) {
    const width = uint32(config.count('head_dim'))
    entries.push(['attention.key_length', width], ['attention.value_length', width])
  }
  return entries
}

/** Beyond what any model has; what is made for each of them stays small. */
const [mostLayers, mostHeadWidth] = [2 ** 14, 2 ** 16]

export const layersOf = (config: Fields): number =>
  config.count('num_hidden_layers', undefined, 1, mostLayers)

/** Width of a head: what the configuration says, or what the heads share. @throws FileError */
export function headWidth(config: Fields, key = 'head_dim'): number {
  if (config.has(key)) return config.count(key, undefined, 1, mostHeadWidth)
  const [width, heads] = [config.count('hidden_size'), config.count('num_attention_heads')]
  if (width % heads !== 0 || width / heads > mostHeadWidth)
    throw new FileError(config.path, `has ${heads} heads, which do not divide the width ${width}`)
  return width / heads
}

/** @throws FileError for rotary embeddings of another type, by Transformers' names */
export function checkRope({ config, rope }: Source, ...types: readonly string[]): void {
  if (!types.includes(rope.type))
    throw new FileError(config.path, `rotates by ${quote(rope.type)}, which llama.cpp cannot run`)
}

/** @throws FileError if a list of the configuration is not what llama.cpp has built in */
export function checkFixed(config: Fields, key: string, expected: readonly unknown[], what: string): void {
  const found = config.list(key)
  if (found && (found.length !== expected.length || found.some((value, i) => value !== expected[i])))
    throw new FileError(config.path, `${quote(key)} ${what}, which llama.cpp cannot run`)
}
