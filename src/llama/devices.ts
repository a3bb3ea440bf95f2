/** The devices that llama.cpp can compute on. */
import koffi from 'koffi'
import { library } from './library.js'
import type { Pointer } from './structs.js'

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

const FeatureStruct = koffi.struct({ name: 'const char *', value: 'const char *' })
const GetFeatures = koffi.proto('void *', ['void *'])
/** More than any build has. */
const mostFeatures = 64

/** Whether a graphics processor can run layers. */
export const hasGpu = (): boolean => devices().some(({ kind }) => kind.endsWith('gpu'))

/** Instruction sets that the loaded build of the CPU backend uses, in ggml's names, e.g. `AVX2`, `DOTPROD`. */
export function instructionSets(): string[] {
  const llama = library()
  const backend = llama.backendByName('CPU')
  const address = backend && llama.backendFunction(backend, 'ggml_backend_get_features')
  if (!backend || !address) return []
  const list = (koffi.decode(address, GetFeatures) as (backend: Pointer) => Pointer)(backend)
  const found: string[] = []
  for (let i = 0; i < mostFeatures; i++) {
    const { name, value } = koffi.decode(list, i * koffi.sizeof(FeatureStruct), FeatureStruct)
    if (name === null) break
    if (value === '1') found.push(name)
  }
  return found
}

/** Version of the loaded library and the commit that it was built from, e.g. `0.5.0-dev, commit 0ad4a86`. */
export const llamaVersion = (): string => library().version
