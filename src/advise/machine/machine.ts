/**
 * What a model can run on: memory, bandwidth and compute of this machine, as the build of ggml that will run sees it and
 * containers limit it, or of one that is described.
 */
import { arch, cpus } from 'node:os'
import { UsageError } from '../../errors.js'
import { type Device, devices, instructionSets } from '../../llama/index.js'
import { memoryBudget, memoryLimits } from '../../memory.js'
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
  /** All memory, in bytes; a container's limit counts as the system's. */
  readonly totalBytes: number
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
  /** What is known of a graphics processor of this machine, by the name that its driver gives it. */
  readonly specOf?: (description: string) => GpuSpec | undefined
  /** Peak bandwidth of the system's memory in bytes per second. Default: that of a graphics processor that shares it. */
  readonly ramBandwidth?: number
}

/** Left on a graphics processor, as llama.cpp leaves it when it chooses the number of layers itself. */
const gpuMargin = 2 ** 30
const [leastMemory, mostMemory] = [2 ** 20, 2 ** 50]

/** @throws UsageError for a size that no memory has, QuenchError without llama.cpp's libraries */
export function describeMachine(options: MachineOptions = {}): Machine {
  const { ramBytes, gpus = [], specOf, ramBandwidth } = options
  const described = [ramBytes, options.gpus, ramBandwidth].some((value) => value !== undefined)
  checkSize('--ram', ramBytes)
  for (const { unified, vramBytes } of gpus) if (!unified) checkSize('--vram', vramBytes)
  const own = memoryLimits()
  const total = ramBytes ?? own.limit ?? own.machine
  const shared = gpus.find(({ unified }) => unified)
  const bandwidth = ramBandwidth ?? shared?.bandwidth
  const cpu = {
    name: 'CPU',
    description: described ? 'described processor' : (cpus()[0]?.model.trim() ?? arch()),
    totalBytes: total,
    usableBytes: usableMemory(total),
    ...(!described && { freeBytes: process.availableMemory() }),
    ...(bandwidth !== undefined && { bandwidth }),
    rates: new Map(),
    unified: shared !== undefined,
  }
  return {
    described,
    cpu,
    gpus: described
      ? gpus.map((spec, i) => describedGpu(spec, i, total))
      : devices()
          .filter(({ kind }) => kind === 'gpu' || kind === 'integrated gpu')
          .map((device) => ownGpu(device, specOf?.(device.description))),
    threads: threadCount(),
    instructions: instructionSets(),
  }
}

function checkSize(option: string, bytes: number | undefined): void {
  if (bytes !== undefined && !(bytes >= leastMemory && bytes <= mostMemory))
    throw new UsageError(
      `${option}: a memory of ${bytes} bytes is no machine's; give a size from 1 MiB to 1 PiB, e.g. 16GB`,
    )
}

function ownGpu(
  { name, description, kind, totalBytes, freeBytes }: Device,
  spec: GpuSpec | undefined,
): MachineDevice {
  const unified = kind === 'integrated gpu' || (process.platform === 'darwin' && arch() === 'arm64')
  return {
    name,
    description: spec?.name ?? description,
    totalBytes,
    // With unified memory ggml's total is the working set that the system allows.
    usableBytes: unified ? totalBytes : usableOnCard(totalBytes),
    freeBytes,
    ...(spec?.bandwidth !== undefined && { bandwidth: spec.bandwidth }),
    rates: new Map(),
    unified,
    ...(spec && { spec }),
  }
}

function describedGpu(spec: GpuSpec, i: number, ramBytes: number): MachineDevice {
  const totalBytes = spec.unified ? ramBytes : spec.vramBytes
  return {
    name: `GPU${i}`,
    description: spec.name,
    totalBytes,
    usableBytes: spec.unified ? workingSet(totalBytes) : usableOnCard(totalBytes),
    ...(spec.bandwidth !== undefined && { bandwidth: spec.bandwidth }),
    rates: new Map(),
    unified: spec.unified,
    spec,
  }
}

/** Bytes of the system's memory that a model may take. */
export const usableMemory = (bytes: number): number => memoryBudget(bytes, 0)

/** Bytes of a graphics card's memory that a model may take. */
export const usableOnCard = (bytes: number): number => Math.max(bytes / 2, bytes - gpuMargin)

/** What macOS lets graphics take of the memory: two thirds, or three quarters above 36 GiB; others allow about as much. */
export const workingSet = (bytes: number): number => bytes * (bytes > 36 * 2 ** 30 ? 3 / 4 : 2 / 3)

/** E.g. `2 x RTX 3090, RTX 3060`; empty without a card or where nobody named it. */
export function cardNames({ gpus }: Pick<Machine, 'gpus'>): string {
  const names = gpus.map(({ description }) => description).filter((name) => name !== '')
  return [...new Set(names)]
    .map((name) => {
      const count = names.filter((other) => other === name).length
      return count > 1 ? `${count} x ${name}` : name
    })
    .join(', ')
}
