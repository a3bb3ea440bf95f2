/**
 * Sums of gradients, by GGUF name, laid out as the weights are. A sum that was cleared counts as zeros whatever its buffer holds: what
 * comes first is written over it, by the very program that computes it where possible, so that no pass over memory is spent on
 * zeros and on adding to them.
 */

import type { Backend, Buffers, DeviceBuffer } from '../backends/backend.js'

/** Gradients that are not there are not computed. */
export type Gradients = ReadonlyMap<string, DeviceBuffer>

const cleared = new WeakSet<DeviceBuffer>()

/** Makes a sum count as zeros, until something is added or it is `opened`. */
export function clear(sum: DeviceBuffer): void {
  cleared.add(sum)
}

/**
 * Those sums of tensors that are cleared, for a program to write to, by the names `d <name>` of its outputs. They are not cleared
 * any more then.
 */
export function takeCleared(gradients: Gradients, names: readonly string[], prefix = ''): Buffers {
  const sums: Buffers = {}
  for (const name of names) {
    const sum = gradients.get(prefix + name)
    if (sum && cleared.delete(sum)) sums[`d ${name}`] = sum
  }
  return sums
}

/** Adds to the sum of a name, if there is one. Values that are the sum itself were written there by a program. */
export function accumulate(backend: Backend, gradients: Gradients, name: string, values: DeviceBuffer): void {
  const sum = gradients.get(name)
  if (!sum || sum === values) return
  if (cleared.delete(sum)) backend.copy(sum, values)
  else backend.add(sum, values)
}

/** The sum as a buffer whose values count. */
export function opened(backend: Backend, sum: DeviceBuffer): DeviceBuffer {
  if (cleared.delete(sum)) backend.fill(sum, 0)
  return sum
}
