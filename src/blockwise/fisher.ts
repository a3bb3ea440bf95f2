/** The Fisher information of a teacher at the outputs of its matrices: the effect of errors there on its predictions. */
import type { DeviceWeights } from '../backends/backend.js'
import { digest } from '../data/order.js'
import { joinWindows } from '../data/windows.js'
import type { Network } from '../engine/network.js'
import type { TeacherCache } from '../engine/teacher-cache.js'
import { outputMoments } from './samples.js'

/** Tokens over which the gradients' second moments are summed. */
export const fisherTokens = 8192

/**
 * Second moments of the gradients at the outputs of all matrices, (out, out), by tensor. The targets are the next tokens of the text.
 * If the model wrote the text, they are drawn from the model itself; otherwise this is the empirical Fisher information.
 * @param windows a whole number of batches, of which the first `fisherTokens` tokens are taken
 * @param onProgress called with the number of tokens done before each batch and at the end. May throw to stop.
 */
export async function fisherOf(
  network: Network,
  teacher: DeviceWeights,
  cache: TeacherCache,
  windows: readonly Int32Array[],
  onProgress: (done: number, total: number) => void = () => {},
): Promise<Map<string, Float32Array>> {
  const size = network.batch.windows
  const used = windows.slice(0, size * Math.ceil(fisherTokens / network.tokens))
  const known = cache.fisher.get(digest(used))
  if (known) return known
  const total = new Map<string, Float32Array>()
  for (let i = 0; i < used.length; i += size) {
    onProgress(i * network.batch.length, used.length * network.batch.length)
    const batch = used.slice(i, i + size)
    const target = { kind: 'tokens', tokens: joinWindows(batch.map(nextTokens)) } as const
    for (const [name, sums] of await outputMoments(network, joinWindows(batch), teacher, target))
      addTo(total, name, sums)
  }
  onProgress(used.length * network.batch.length, used.length * network.batch.length)
  cache.fisher.set(digest(used), total)
  return total
}

/** The token after each token of a window; -1 after the last. */
function nextTokens(window: Int32Array): Int32Array {
  const next = new Int32Array(window.length).fill(-1)
  next.set(window.subarray(1))
  return next
}

/** Adds values to the sum of that name; the first values become the sum itself. */
function addTo(sums: Map<string, Float32Array>, name: string, values: Float32Array): void {
  const total = sums.get(name)
  if (total) for (let i = 0; i < total.length; i++) total[i] += values[i]
  else sums.set(name, values)
}
