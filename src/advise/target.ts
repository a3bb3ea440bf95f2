/** The machine that advice is for: this one, or one that options describe. What was assumed is said in `notes`. */
import { totalmem } from 'node:os'
import { UsageError } from '../errors.js'
import { gigabytes } from '../format.js'
import { devices } from '../llama/index.js'
import { gpuNamed, gpusLike } from './catalogue/names.js'
import type { Catalogue, Gpu } from './catalogue/types.js'

export interface TargetOptions {
  /** Memory of the system in bytes. */
  readonly ramBytes?: number
  /** Memory of the graphics card, or of all together. */
  readonly vramBytes?: number
  /** Name of a graphics card or chip, as in the catalogue. */
  readonly gpu?: string
}

export interface Target {
  readonly described: boolean
  readonly ramBytes: number
  readonly vramBytes: number
  /** Whether the graphics processor shares the system's memory. */
  readonly unified: boolean
  /** Bytes per second that a model reads at. */
  readonly ramBandwidth: number
  readonly vramBandwidth: number
  /** Operations per second on a prompt. */
  readonly cpuFlops: number
  readonly gpuFlops: number
  readonly gpu?: string
  /** Whether the card multiplies 4-bit floats; undefined if that is not known. */
  readonly fp4?: boolean
  readonly notes: readonly string[]
}

/** What is reached of the bandwidth in data sheets; people measure 0.7 to 0.85 of memory and up to 0.92 of servers'. */
const reached = 0.75
/** Two channels of DDR4-3200, for a machine of which nobody knows. */
const usualRamBandwidth = 51.2e9
/** A card in the middle of those of the last years. */
const usualVramBandwidth = 300e9
/** Of a desktop processor, and of a card whose rate is not in the catalogue. */
const [usualCpuFlops, usualGpuFlops] = [0.4e12, 20e12]

const least = 1e6
const most = 1e15

/** @throws UsageError for a card that is unknown and whose memory is not given, and for absurd numbers */
export async function describeTarget(catalogue: Catalogue, options: TargetOptions): Promise<Target> {
  for (const [name, value] of [
    ['--ram', options.ramBytes],
    ['--vram', options.vramBytes],
  ] as const)
    if (value !== undefined && value !== 0 && !(value >= least && value <= most))
      throw new UsageError(`${name} is ${value} bytes; it must be a size from 1MB to 1PB, e.g. 16GB`)
  const described = Object.values(options).some((value) => value !== undefined)
  const notes: string[] = []
  const own = described ? { vram: 0 } : ownGpus()
  const gpu =
    options.gpu === undefined
      ? 'name' in own
        ? gpuNamed(catalogue, own.name)
        : undefined
      : named(catalogue, options, notes)
  const ramBytes = options.ramBytes ?? unifiedRam(gpu, options) ?? thisRam(options, notes)
  const unified = gpu?.unifiedMemory ?? false
  const vramBytes = unified
    ? ramBytes
    : (options.vramBytes ?? (gpu && options.gpu !== undefined ? sold(gpu, notes) : own.vram))
  const bandwidth = gpu?.bandwidthGBs === undefined ? undefined : gpu.bandwidthGBs * 1e9
  if (vramBytes > 0 && bandwidth === undefined)
    notes.push(
      `Nothing is known of the graphics card's speed, so ${usualVramBandwidth / 1e9} GB/s are assumed; name it with --gpu.`,
    )
  if (!unified)
    notes.push(
      `Memory of the processor is assumed to give ${usualRamBandwidth / 1e9} GB/s, as two channels of DDR4-3200; \`quench bench\` measures.`,
    )
  const cores = gpu?.fp16TensorTflops ?? gpu?.fp16Tflops
  const shownName = options.gpu ?? ('name' in own ? own.name : undefined)
  const fp4 = gpu?.fp4TensorCores
  return {
    described,
    ramBytes,
    vramBytes,
    unified,
    ramBandwidth: reached * (unified && bandwidth !== undefined ? bandwidth : usualRamBandwidth),
    vramBandwidth: reached * (bandwidth ?? usualVramBandwidth),
    cpuFlops: usualCpuFlops,
    gpuFlops: cores === undefined ? usualGpuFlops : 0.3e12 * cores,
    ...(shownName !== undefined && { gpu: gpu?.names[0] ?? shownName }),
    ...(fp4 !== undefined && { fp4 }),
    notes,
  }
}

/** This machine's graphics processors as the build of llama.cpp that will run finds them. */
function ownGpus(): { readonly vram: number; readonly name?: string } {
  const gpus = devices().filter(({ kind }) => kind.endsWith('gpu'))
  const [first] = gpus
  return first
    ? { vram: gpus.reduce((sum, { totalBytes }) => sum + totalBytes, 0), name: first.description }
    : { vram: 0 }
}

function named(catalogue: Catalogue, { gpu, vramBytes }: TargetOptions, notes: string[]): Gpu | undefined {
  const found = gpuNamed(catalogue, gpu as string)
  if (found) return found
  const like = gpusLike(catalogue, gpu as string)
  const hint = like.length > 0 ? `; similar: ${like.join(', ')}` : ''
  if (vramBytes === undefined)
    throw new UsageError(
      `--gpu ${gpu}: the catalogue has no such card${hint}; give its memory with --vram instead`,
    )
  notes.push(`The catalogue has no card "${gpu}"${hint}: its speed is a guess.`)
  return undefined
}

/** A chip that was sold with one size of memory needs no --ram. */
function unifiedRam(gpu: Gpu | undefined, { vramBytes }: TargetOptions): number | undefined {
  if (!gpu?.unifiedMemory) return undefined
  if (vramBytes !== undefined) return vramBytes
  return gpu.memoryGB.length > 0 ? Math.min(...gpu.memoryGB) * 1e9 : undefined
}

function thisRam({ vramBytes, gpu }: TargetOptions, notes: string[]): number {
  const limit = process.constrainedMemory()
  const bytes = limit > 0 ? Math.min(totalmem(), limit) : totalmem()
  if (vramBytes !== undefined || gpu !== undefined)
    notes.push(
      `The system's memory is taken to be this machine's, ${gigabytes(bytes)}; --ram says otherwise.`,
    )
  return bytes
}

function sold(gpu: Gpu, notes: string[]): number {
  const [size = 0, ...others] = gpu.memoryGB.toSorted((a, b) => a - b)
  if (others.length > 0)
    notes.push(
      `${gpu.names[0]} is sold with ${[size, ...others].join(' and ')} GB; ${size} GB are assumed, --vram says otherwise.`,
    )
  return size * 2 ** 30
}
