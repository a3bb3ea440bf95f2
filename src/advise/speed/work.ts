/** What a token makes a machine do: bytes of weights read and operations, by device and type. */
import { ggmlTypes } from '../../gguf/index.js'
import { cacheBytes, cellsOf, runOf } from '../memory/cache.js'
import { layoutOf } from '../memory/layout.js'
import { type CacheShape, shapeOf } from '../memory/shape.js'
import type { GgufHeader } from '../memory/types.js'
import { layerOf } from '../memory/weights.js'
import type { Placement } from './types.js'

/** Of one type of weights on one device; -1 is the processor. */
export interface Work {
  readonly device: number
  readonly type: string
  /** Read for one token that is generated. */
  readonly bytes: number
  /** Weights that one token of a prompt is multiplied with. The output's are not: only the last token needs it. */
  readonly weights: number
}

export interface TokenWork {
  readonly weights: readonly Work[]
  /** Layers on graphics processors. */
  readonly gpuLayers: number
  /** Bytes of keys and values that a token reads at `depth`, by device. */
  readonly cache: ReadonlyMap<number, number>
}

/** Bytes of weights that a token reads. */
export const bytesOf = ({ weights }: Pick<TokenWork, 'weights'>): number =>
  weights.reduce((sum, { bytes }) => sum + bytes, 0)

/** @throws FileError for a damaged header, UsageError for options that say nothing */
export function workOf(header: GgufHeader, placement: Placement): TokenWork {
  const shape = shapeOf(header)
  const layout = layoutOf(shape.layers.length, placement)
  const tied = !shape.names.has('output.weight')
  const found = new Map<string, Work>()
  for (const tensor of header.tensors) {
    const { name } = tensor
    const layer = layerOf(name)
    const looked = name.startsWith('per_layer_token_embd') || (name === 'token_embd.weight' && !tied)
    if (looked || layer >= shape.layers.length) continue
    const routed = /_exps\./.test(name)
    const share = routed && shape.experts > 0 ? shape.expertsUsed / shape.experts : 1
    const stays = routed && layer < (placement.cpuExpertLayers ?? 0)
    const device = stays ? -1 : layer < 0 ? layout.output : layout.layers[layer]
    const type = ggmlTypes.get(tensor.type)?.name ?? ''
    const output = layer < 0
    const before = found.get(`${device} ${type}`)
    found.set(`${device} ${type}`, {
      ...{ device, type },
      bytes: (before?.bytes ?? 0) + tensor.bytes * share,
      weights: (before?.weights ?? 0) + (output ? 0 : tensor.elements * share),
    })
  }
  return {
    weights: [...found.values()],
    gpuLayers: layout.layers.filter((device) => device >= 0).length,
    cache: cacheReads(shape, layout.layers, placement),
  }
}

/** Bytes of keys and values that a token reads, by device. @param devices of the layers */
export function cacheReads(
  shape: CacheShape,
  devices: readonly number[],
  { depth = 0, cacheTypes }: Placement,
): Map<number, number> {
  const reads = new Map<number, number>()
  if (depth === 0) return reads
  const run = runOf(shape, { context: depth, ...(cacheTypes && { cacheTypes }) })
  for (const [i, bytes] of cacheBytes(shape, run).entries()) {
    const layer = shape.layers[i]
    const seen = layer.sliding ? Math.min(depth, shape.window) : depth
    const share = layer.cached ? seen / cellsOf(run, layer) : 1
    reads.set(devices[i], (reads.get(devices[i]) ?? 0) + bytes * share)
  }
  return reads
}
