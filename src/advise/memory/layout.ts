/** Which device each layer is on. Source: load_tensors (get_layer_buft_list) of llama.cpp v0.5.0. */
import { UsageError } from '../../errors.js'
import type { MemoryOptions } from './types.js'

export interface Layout {
  /** Device of each layer: -1 is the processor, else the index of a graphics processor. */
  readonly layers: readonly number[]
  readonly output: number
}

/** The last layers go to graphics processors, the output first. @throws UsageError for numbers that say nothing */
export function layoutOf(
  layers: number,
  { gpuLayers = 0, tensorSplit = [1] }: Pick<MemoryOptions, 'gpuLayers' | 'tensorSplit'>,
): Layout {
  const sum = tensorSplit.reduce((total, share) => total + share, 0)
  if (!(sum > 0) || tensorSplit.some((share) => !(share >= 0)))
    throw new UsageError('the shares of the graphics processors should be numbers from 0, not all of them 0')
  if (!(gpuLayers >= 0)) throw new UsageError(`${gpuLayers} is no number of layers`)
  const offloaded = Math.min(gpuLayers, layers + 1)
  const start = layers + 1 - offloaded
  const ends = tensorSplit.map((_, i) => tensorSplit.slice(0, i + 1).reduce((a, b) => a + b, 0) / sum)
  const deviceOf = (layer: number): number => {
    if (layer < start) return -1
    const at = (layer - start) / offloaded
    const found = ends.findIndex((end) => at < end)
    return found < 0 ? ends.length - 1 : found
  }
  return { layers: Array.from({ length: layers }, (_, i) => deviceOf(i)), output: deviceOf(layers) }
}
