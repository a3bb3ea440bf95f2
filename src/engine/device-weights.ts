/** Weights on a device, uploaded from a file or from host memory. */
import type { Backend, DeviceBuffer, DeviceWeights } from '../backends/backend.js'
import type { Weights } from '../models/weights.js'

/** Each array is uploaded once, as long as its source keeps it. */
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
