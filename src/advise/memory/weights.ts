/**
 * Where the weights of a file lie once it is loaded. Those that stay in the system's memory are mapped, so what counts is the
 * part of the file from the first to the last of them; repacked ones come on top of it, and those on a graphics processor are copied.
 * Source: load_tensors and create_tensor of llama.cpp v0.5.0.
 */
import type { TensorInfo } from '../../gguf/index.js'
import type { Layout } from './layout.js'
import { repackedBytes } from './repack.js'
import type { ModelShape } from './shape.js'
import type { GgufHeader, MemoryItem, MemoryOptions } from './types.js'

const system = -1
const gpuAlignment = 128

export function weightItems(
  header: GgufHeader,
  shape: ModelShape,
  layout: Layout,
  { instructions = [], cpuExpertLayers = 0 }: MemoryOptions,
): MemoryItem[] {
  const tied = !shape.names.has('output.weight')
  const mapped = new Map<number, { first: number; last: number }>()
  const copies = new Map<number, number>()
  const repacked: { readonly tensor: TensorInfo; readonly bytes: number }[] = []
  const place = (tensor: TensorInfo, device: number, multiplied: boolean): void => {
    if (device !== system) {
      const padded = Math.ceil(tensor.bytes / gpuAlignment) * gpuAlignment
      copies.set(device, (copies.get(device) ?? 0) + padded)
      return
    }
    const bytes = multiplied ? repackedBytes(tensor, instructions) : undefined
    if (bytes !== undefined) repacked.push({ tensor, bytes })
    else {
      const range = mapped.get(tensor.file)
      const last = tensor.offset + tensor.bytes
      mapped.set(tensor.file, {
        first: Math.min(range?.first ?? Infinity, tensor.offset),
        last: Math.max(range?.last ?? 0, last),
      })
    }
  }
  for (const tensor of header.tensors) {
    const { name } = tensor
    const layer = layerOf(name)
    if (layer >= shape.layers.length) continue // predicts further tokens, and is not loaded
    if (name === 'token_embd.weight') {
      place(tensor, system, false)
      if (tied) place(tensor, layout.output, true)
    } else if (name.startsWith('per_layer_token_embd')) place(tensor, system, false)
    else {
      const stays = layer < cpuExpertLayers && /_exps\./.test(name)
      const device = layer < 0 ? (first.test(name) ? layout.layers[0] : layout.output) : layout.layers[layer]
      place(tensor, stays ? system : device, isMatrix(tensor))
    }
  }
  const sum = (all: readonly { readonly bytes: number }[]): number =>
    all.reduce((total, { bytes }) => total + bytes, 0)
  const mappedBytes = [...mapped.values()].reduce((total, { first, last }) => total + last - first, 0)
  const between = repacked
    .map(({ tensor }) => tensor)
    .filter(({ file, offset }) => {
      const range = mapped.get(file)
      return range && offset > range.first && offset < range.last
    })
  const items = [
    weights('weights (mapped file)', system, mappedBytes - sum(between)),
    { ...weights('weights in the file that are repacked', system, sum(between)), reclaimable: true as const },
    weights('weights repacked for the processor', system, sum(repacked)),
    ...[...copies].map(([device, bytes]) => weights('weights', device, bytes)),
  ]
  return items.filter(({ bytes }) => bytes > 0)
}

/** Tensors without a layer in their name that belong to the first one. */
const first = /^(?:per_layer_|rope_)/

const weights = (what: string, device: number, bytes: number): MemoryItem => ({
  what,
  use: 'weights',
  device,
  bytes,
})

/** -1 without a layer. */
export const layerOf = (name: string): number => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1)

const isMatrix = ({ name, shape }: TensorInfo): boolean =>
  name.endsWith('.weight') && shape.length >= 2 && !/(?:conv1d|shortconv\.conv)\./.test(name)
