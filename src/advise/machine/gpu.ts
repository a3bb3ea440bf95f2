/** Graphics processors that are not at hand, as the catalogue describes them. */
import type { Gpu } from '../catalogue/types.js'

/** A graphics processor as its maker describes it. */
export interface GpuSpec {
  /** E.g. `RTX 4090`. */
  readonly name: string
  /** Its own memory; for one that shares the system's (`unified`) all memory of the machine. */
  readonly vramBytes: number
  /** Memory bandwidth in bytes per second; absent where no source has it. */
  readonly bandwidth?: number
  /** Dense operations per second on 16-bit floats (a multiply and an add are two), where known. */
  readonly flops?: number
  /** Whether it multiplies 4-bit floats in hardware; elsewhere they are decoded first. Absent if that is not known. */
  readonly nvfp4Native?: boolean
  /** Whether it shares the system's memory, as Apple's do. */
  readonly unified: boolean
}

/** @param bytes its memory, where it is sold with several sizes; without it the smallest of them, or 0 where none is known */
export function gpuSpec(gpu: Gpu, bytes?: number): GpuSpec {
  const tera = gpu.fp16TensorTflops ?? gpu.fp16Tflops
  return {
    name: gpu.names[0],
    vramBytes: bytes ?? (gpu.memoryGB.length > 0 ? Math.min(...gpu.memoryGB) * 2 ** 30 : 0),
    ...(gpu.bandwidthGBs !== undefined && { bandwidth: gpu.bandwidthGBs * 1e9 }),
    ...(tera !== undefined && { flops: tera * 1e12 }),
    ...(gpu.fp4TensorCores !== undefined && { nvfp4Native: gpu.fp4TensorCores }),
    unified: gpu.unifiedMemory ?? false,
  }
}
