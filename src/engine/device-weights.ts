/** Weights of a file or of the processor on a device. */
import type { Backend, DeviceBuffer, DeviceWeights } from '../backends/backend.js'
import type { Weights } from '../models/weights.js'

/** Each array is uploaded once, for as long as it is kept where it comes from. */
export function onDevice(backend: Backend, weights: Weights): DeviceWeights {
  const uploaded = new WeakMap<Float32Array, DeviceBuffer>()
  return {
    get(name) {
      const values = weights.get(name)
      if (!values) return undefined
      const known = uploaded.get(values) ?? backend.upload(values)
      uploaded.set(values, known)
      return known
    },
    rows(name, tokens, columns) {
      const rows = weights.rows?.(name, tokens, columns)
      return rows && backend.upload(rows)
    },
  }
}
