/**
 * What a model can run on: memory, bandwidth and compute of this machine, as the build of ggml that will run sees it and
 * containers limit it, or of one that is described.
 */
import { arch, cpus } from 'node:os'
import { UsageError } from '../../errors.js'
import { type Device, devices, instructionSets } from '../../llama/index.js'
import { memoryBudget } from '../../memory.js'
import { threadCount } from '../../threads.js'
import type { GpuSpec } from './gpu.js'

/** What a device does with weights of a type, as measured by the probe. */
export interface Rate {
  /** Weights read for one token, in bytes of the file per second. */
  readonly bytesPerSecond: number
  /** Operations per second on a prompt (a multiply and an add are two). */
  readonly flops: number
}

/** A device that holds weights and computes. */
export interface MachineDevice {
  /** ggml's name, e.g. `CPU`, `CUDA0`; for a described one `GPU0`. */
  readonly name: string
  readonly description: string
  /** Memory that a model may take, in bytes: limits of containers and the working set of unified memory are observed. */
  readonly usableBytes: number
  /** Memory that is free now; absent for a described machine. */
  readonly freeBytes?: number
  /** Peak of memory bandwidth in bytes per second, where known; what was measured is in `rates`. */
  readonly bandwidth?: number
  /** Measured by the probe, by ggml's type name in upper case. */
  readonly rates: ReadonlyMap<string, Rate>
  /** Whether this memory is also the system's. */
  readonly unified: boolean
  readonly spec?: GpuSpec
}

export interface Machine {
  /** Whether options describe it; else it is this one. */
  readonly described: boolean
  readonly cpu: MachineDevice
  /** In the order of llama.cpp and of `MemoryItem.device`. */
  readonly gpus: readonly MachineDevice[]
  /** Threads that compute. */
  readonly threads: number
  /** Instruction sets in ggml's names, e.g. `AVX2`; those of this machine if it is described. */
  readonly instructions: readonly string[]
}

/** How a machine is described; without any of these it is this one. */
export interface MachineOptions {
  /** Memory of the system in bytes. Default: this machine's. */
  readonly ramBytes?: number
  /** Graphics processors. Default: none, if the memory is given. */
  readonly gpus?: readonly GpuSpec[]
  /** Peak bandwidth of the system's memory in bytes per second. */
  readonly ramBandwidth?: number
}

/** Left on a graphics processor, as llama.cpp leaves it when it chooses the number of layers itself. */
const gpuMargin = 2 ** 30
const [leastMemory, mostMemory] = [2 ** 20, 2 ** 50]

/** @throws UsageError for a size that no memory has, QuenchError without llama.cpp's libraries */
export function describeMachine(options: MachineOptions = {}): Machine {
  const { ramBytes, gpus, ramBandwidth } = options
  const described = Object.values(options).some((value) => value !== undefined)
  const sizes = (gpus ?? []).map(({ unified, vramBytes }) => (unified && ramBytes) || vramBytes)
  for (const bytes of [ramBytes, ...sizes])
    if (bytes !== undefined && !(bytes >= leastMemory && bytes <= mostMemory))
      throw new UsageError(`a memory of ${bytes} bytes is no machine's; give a size from 1 MiB to 1 PiB`)
  const usable = ramBytes === undefined ? memoryBudget() : memoryBudget(ramBytes, 0)
  const shared = gpus?.some(({ unified }) => unified) ?? false
  return {
    described,
    cpu: {
      name: 'CPU',
      description: described ? 'described processor' : (cpus()[0]?.model.trim() ?? arch()),
      usableBytes: usable,
      ...(ramBytes === undefined && { freeBytes: process.availableMemory() }),
      ...(ramBandwidth !== undefined && { bandwidth: ramBandwidth }),
      rates: new Map(),
      unified: shared,
    },
    gpus: described
      ? (gpus ?? []).map((spec, i) => describedGpu(spec, i, ramBytes))
      : devices()
          .filter(({ kind }) => kind === 'gpu' || kind === 'integrated gpu')
          .map(ownGpu),
    threads: threadCount(),
    instructions: instructionSets(),
  }
}

function ownGpu({ name, description, kind, totalBytes, freeBytes }: Device): MachineDevice {
  const unified = kind === 'integrated gpu' || (process.platform === 'darwin' && arch() === 'arm64')
  return {
    name,
    description,
    // With unified memory ggml's total is the working set that the system allows.
    usableBytes: unified ? totalBytes : beside(totalBytes),
    freeBytes,
    rates: new Map(),
    unified,
  }
}

function describedGpu(spec: GpuSpec, i: number, ramBytes: number | undefined): MachineDevice {
  return {
    name: `GPU${i}`,
    description: spec.name,
    usableBytes: spec.unified ? workingSet(ramBytes ?? spec.vramBytes) : beside(spec.vramBytes),
    ...(spec.bandwidth !== undefined && { bandwidth: spec.bandwidth }),
    rates: new Map(),
    unified: spec.unified,
    spec,
  }
}

const beside = (bytes: number): number => Math.max(bytes / 2, bytes - gpuMargin)

/** What macOS lets graphics take of the memory: two thirds, or three quarters above 36 GiB; others allow about as much. */
const workingSet = (bytes: number): number => bytes * (bytes > 36 * 2 ** 30 ? 3 / 4 : 2 / 3)
