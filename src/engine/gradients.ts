/**
 * Sums of gradients, by GGUF name, laid out as the weights are. A sum that was cleared counts as zeros whatever its array holds: what
 * comes first is written over it, by the very program that computes it where possible, so that no pass over memory is spent on
 * zeros and on adding to them.
 */

/** Gradients that are not there are not computed. */
export type Gradients = ReadonlyMap<string, Float32Array>

const cleared = new WeakSet<Float32Array>()

/** Makes a sum count as zeros, until something is added or it is `opened`. */
export function clear(sum: Float32Array): void {
  cleared.add(sum)
}

/**
 * Those sums of tensors that are cleared, for a program to write to, by the names `d <name>` of its outputs. They are not cleared
 * any more then.
 */
export function takeCleared(
  gradients: Gradients,
  names: readonly string[],
  prefix = '',
): Record<string, Float32Array> {
  const sums: Record<string, Float32Array> = {}
  for (const name of names) {
    const sum = gradients.get(prefix + name)
    if (sum && cleared.delete(sum)) sums[`d ${name}`] = sum
  }
  return sums
}

/** Adds to the sum of a name, if there is one. Values that are the sum itself were written there by a program. */
export function accumulate(gradients: Gradients, name: string, values: Float32Array): void {
  const sum = gradients.get(name)
  if (!sum || sum === values) return
  if (cleared.delete(sum)) sum.set(values)
  else addTo(sum, values)
}

/** The sum as an array whose values count. */
export const opened = (sum: Float32Array): Float32Array => (cleared.delete(sum) ? sum.fill(0) : sum)

/** Adds to an array, element by element. */
export function addTo(total: Float32Array, values: Float32Array): void {
  for (let i = 0; i < total.length; i++) total[i] += values[i]
}
