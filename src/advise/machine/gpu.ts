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
  /** Dense operations per second (a multiply and an add are two) by operand type, where known. */
  readonly flops: Readonly<Partial<Record<'f16' | 'fp4', number>>>
  /** E.g. `Ada`, `Blackwell`. */
  readonly generation?: string
  /** Whether it multiplies 4-bit floats in hardware; elsewhere they are decoded first. */
  readonly nvfp4Native: boolean
  /** Whether it shares the system's memory, as Apple's do. */
  readonly unified: boolean
}

/** @param bytes its memory, where it is sold with several sizes; without it the smallest of them, or 0 where none is known */
export function gpuSpec(gpu: Gpu, bytes?: number): GpuSpec {
  const tera = gpu.fp16TensorTflops ?? gpu.fp16Tflops
  const f16 = tera === undefined ? {} : { f16: tera * 1e12 }
  // Twice the rate of 8-bit operands, which is twice that of 16-bit ones.
  const fp4 = gpu.fp4TensorCores && tera !== undefined ? { fp4: 4 * tera * 1e12 } : {}
  return {
    name: gpu.names[0],
    vramBytes: bytes ?? (gpu.memoryGB.length > 0 ? Math.min(...gpu.memoryGB) * 2 ** 30 : 0),
    ...(gpu.bandwidthGBs !== undefined && { bandwidth: gpu.bandwidthGBs * 1e9 }),
    flops: { ...f16, ...fp4 },
    generation: gpu.generation,
    nvfp4Native: gpu.fp4TensorCores ?? false,
    unified: gpu.unifiedMemory ?? false,
  }
}
