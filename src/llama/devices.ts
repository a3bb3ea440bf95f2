/** The devices that llama.cpp can compute on. */
import { library } from './library.js'

export interface Device {
  /** E.g. `CPU`, `CUDA0`. */
  readonly name: string
  readonly description: string
  readonly kind: 'cpu' | 'gpu' | 'integrated gpu' | 'accelerator'
  readonly freeBytes: number
  readonly totalBytes: number
}

/** In the order of `ggml_backend_dev_type`. */
const kinds = ['cpu', 'gpu', 'integrated gpu', 'accelerator'] as const

/** @throws QuenchError if the libraries are missing */
export function devices(): Device[] {
  const llama = library()
  return Array.from({ length: Number(llama.deviceCount()) }, (_, i): Device => {
    const device = llama.device(i)
    const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)]
    llama.deviceMemory(device, new Uint8Array(free.buffer), new Uint8Array(total.buffer))
    return {
      name: llama.deviceName(device),
      description: llama.deviceDescription(device),
      kind: kinds[llama.deviceType(device)] ?? 'accelerator',
      freeBytes: Number(free[0]),
      totalBytes: Number(total[0]),
    }
  })
}

/** Version of the loaded library, e.g. `0.5.0`. */
export const llamaVersion = (): string => library().version
