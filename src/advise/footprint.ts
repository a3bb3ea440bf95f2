/** What a file takes in memory and time, from all of it on the processor to all on the graphics card. */
import type { Family } from './catalogue/types.js'
import { expertShareOf, type FamilyFile, familyMemory, familyWork } from './family.js'
import type { Machine } from './machine/machine.js'
import { estimateMemory } from './memory/estimate.js'
import { shapeOf } from './memory/shape.js'
import type { GgufHeader, MemoryItem, MemoryOptions } from './memory/types.js'
import type { Footprint, Load } from './pick.js'
import { estimateSpeed } from './speed/estimate.js'
import type { Calibration, Draft, Placement, SpeedEstimate } from './speed/types.js'
import { type TokenWork, workOf } from './speed/work.js'

/** How the model is to run. */
export type RunOptions = Required<Pick<MemoryOptions, 'context' | 'parallel' | 'cacheTypes'>>

/** A file whose memory and work can be told. */
export interface Sized {
  readonly layers: number
  /** Share of the weights in experts. */
  readonly expertShare: number
  readonly vocabulary: number
  /** A draft model beside it, whose memory is in `memory`; `counted`: the speed that it is expected to win counts. */
  readonly draft?: Required<Draft> & { readonly counted: boolean }
  readonly memory: (options: MemoryOptions) => readonly MemoryItem[]
  readonly work: (placement: Placement) => TokenWork
}

/** A file by its header. @throws FileError for one that is damaged or no language model's */
export function sizedByHeader(header: GgufHeader): Sized {
  const sum = (tensors: readonly { bytes: number }[]) =>
    tensors.reduce((total, { bytes }) => total + bytes, 0)
  const shape = shapeOf(header)
  return {
    layers: shape.layers.length,
    vocabulary: shape.vocabulary,
    expertShare: sum(header.tensors.filter(({ name }) => /_exps\./.test(name))) / sum(header.tensors),
    memory: (options) => estimateMemory(header, options).items,
    work: (placement) => workOf(header, placement),
  }
}

/** A file that is not at hand, of a family of the catalogue. */
export const sizedByFamily = (family: Family, file: FamilyFile): Sized => ({
  layers: family.blocks,
  vocabulary: family.vocabulary,
  expertShare: expertShareOf(family),
  memory: (options) => familyMemory(family, file, options),
  work: (placement) => familyWork(family, file, placement),
})

/** Below this share of the weights experts are not placed apart. */
const leastExperts = 0.3

type Split = Pick<Placement, 'gpuLayers' | 'cpuExpertLayers'>

/** The speed at one place. A token is generated behind half of the context, on average. */
export const speedAt = (
  sized: Sized,
  machine: Machine,
  { context, cacheTypes }: RunOptions,
  calibration: Calibration,
  split: Split,
): SpeedEstimate =>
  estimateSpeed(
    sized.work({ ...split, ...splitOf(machine), depth: Math.ceil(context / 2), cacheTypes }),
    machine,
    calibration,
    sized.draft,
  )

/** What each device holds at one place. */
export function memoryAt(
  sized: Sized,
  machine: Machine,
  run: RunOptions,
  split: Split,
): readonly MemoryItem[] {
  const { instructions } = machine
  return sized
    .memory({ ...run, ...split, ...splitOf(machine), instructions })
    .filter(({ reclaimable }) => !reclaimable)
}

/** @throws UsageError for a context or types of the cache that llama.cpp does not take */
export function footprintOf(
  sized: Sized,
  machine: Machine,
  run: RunOptions,
  calibration: Calibration,
): Footprint {
  const { gpus } = machine
  const at = (split: Split): { load: Load; buffers: number } => {
    const items = memoryAt(sized, machine, run, split)
    const sum = (counts: (item: MemoryItem) => boolean): number =>
      items.reduce((total, item) => total + (counts(item) ? item.bytes : 0), 0)
    const on = (device: number): number => sum((item) => item.device === device)
    const speed = speedAt(sized, machine, run, calibration, split)
    const { prompt } = speed
    const generate = (sized.draft?.counted && speed.drafted) || speed.generate
    return {
      load: {
        ram: on(-1),
        vram: fullest(gpus.map((gpu, i) => ({ ...gpu, bytes: on(i) }))),
        seconds: 1 / generate.expected,
        promptSeconds: 1 / prompt.expected,
      },
      buffers: sum(({ device, use, draft }) => device >= 0 && (use === 'compute' || draft === true)),
    }
  }
  const { layers, expertShare } = sized
  const { load: none } = at({ gpuLayers: 0 })
  if (gpus.length === 0) return { loads: [none], steps: [], fixedVram: 0 }
  const { load: all, buffers } = at({ gpuLayers: layers + 1 })
  if (expertShare < leastExperts) return { loads: [none, all], steps: [layers + 1], fixedVram: buffers }
  // Attention first: it is read for every token, and experts are the part that the processor bears best.
  const { load: attention } = at({ gpuLayers: layers + 1, cpuExpertLayers: layers })
  return { loads: [none, attention, all], steps: [layers + 1, layers], fixedVram: buffers }
}

/**
 * Bytes on graphics cards. Of several the fullest decides: they count as if all were as full, which is up to a layer a card more
 * than they hold.
 */
function fullest(cards: readonly { readonly bytes: number; readonly usableBytes: number }[]): number {
  const usable = cards.reduce((sum, { usableBytes }) => sum + usableBytes, 0)
  return Math.max(0, ...cards.map((card) => (card.bytes * usable) / card.usableBytes))
}

/** Layers are shared out as the memories allow. */
const splitOf = ({ gpus }: Pick<Machine, 'gpus'>): Pick<MemoryOptions, 'tensorSplit'> =>
  gpus.length > 1 ? { tensorSplit: gpus.map(({ usableBytes }) => usableBytes) } : {}
