/**
 * Pruning of layers: the tensors that remain, and their names. Later layers are renumbered as in llama-quantize (remap_layer in
 * src/llama-quant.cpp of llama.cpp v0.5.0). It does not renumber metadata with a value per layer, so models with such metadata are
 * refused.
 */
import { FileError, UsageError } from '../errors.js'
import { type Gguf, type GgufValue, quote, type TensorInfo } from '../gguf/index.js'
import type { QuantizeOptions } from '../llama/index.js'

export interface Pruned {
  /** Source tensors, by their names in the output. */
  readonly sources: ReadonlyMap<string, TensorInfo>
  /** Metadata changes that libllama makes. */
  readonly metadata: ReadonlyMap<string, GgufValue>
}

const layerPattern = /blk\.(\d+)\./

/** @throws UsageError for layers that do not exist, and if none is left; FileError for models with metadata per layer */
export function prune(
  gguf: Gguf,
  { pruneLayers: layers = [], keepSplit = false }: Pick<QuantizeOptions, 'pruneLayers' | 'keepSplit'>,
): Pruned {
  if (layers.length === 0)
    return { sources: new Map(gguf.tensors.map((tensor) => [tensor.name, tensor])), metadata: new Map() }
  const layerOf = ({ name }: TensorInfo): number => Number(layerPattern.exec(name)?.[1] ?? Number.NaN)
  const all = [...new Set(gguf.tensors.map(layerOf))]
    .filter((layer) => !Number.isNaN(layer))
    .toSorted((a, b) => a - b)
  const missing = layers.find((layer) => !all.includes(layer))
  if (missing !== undefined)
    throw new UsageError(
      `--prune-layers: ${gguf.path} has no layer ${missing}, only ${all[0]} to ${all.at(-1)}`,
    )
  const left = all.filter((layer) => !layers.includes(layer))
  if (left.length === 0) throw new UsageError(`--prune-layers leaves no layer of ${gguf.path}`)
  const architecture = gguf.metadata.string('general.architecture')
  checkArrays(gguf, architecture, all.length)
  const stays = (tensor: TensorInfo): boolean => !layers.includes(layerOf(tensor))
  const emptied = gguf.files.findIndex((_, file) => !gguf.tensors.some((t) => t.file === file && stays(t)))
  if (keepSplit && emptied >= 0)
    throw new UsageError(`--prune-layers leaves no tensor of ${gguf.files[emptied]}; leave out --keep-split`)
  const renamed = ({ name }: TensorInfo): string =>
    name.replace(layerPattern, (_, layer) => `blk.${left.indexOf(Number(layer))}.`)
  return {
    sources: new Map(gguf.tensors.filter(stays).map((tensor) => [renamed(tensor), tensor])),
    metadata: new Map([[`${architecture}.block_count`, { type: 'uint32', value: left.length }]]),
  }
}

/** Has as many values as a model of four layers, and they are none of layers. */
const ofPositions = '.rope.dimension_sections'

function checkArrays({ path, metadata }: Gguf, architecture: string, layers: number): void {
  for (const [key, { type, value }] of metadata)
    if (type === 'array' && key.startsWith(`${architecture}.`) && !key.endsWith(ofPositions))
      if (value.length >= layers)
        throw new FileError(
          path,
          `${quote(key)} has a value for every layer, which llama.cpp leaves as they are; layers of such a model cannot be pruned`,
        )
}
