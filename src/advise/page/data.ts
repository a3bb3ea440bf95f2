/** What the page of `quench advise --open` knows: every file with what it takes at each context of the slider. */
import {
  cardNames,
  describeMachine,
  type Machine,
  usableMemory,
  usableOnCard,
  workingSet,
} from '../machine/machine.js'
import type { Footprint } from '../pick.js'
import { choices, optionsOf, type Prepared } from '../prepare.js'
import { nameOf } from '../words.js'

/** Stops of the sliders; memory in GB of 10^9 bytes. */
export const stops = {
  ram: [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256],
  vram: [0, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 80, 96],
  context: [2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072],
} as const

interface PageFile {
  readonly id: string
  readonly name: string
  readonly model: string
  readonly loss: number
  readonly interval: readonly [number, number]
  readonly kind: string
  readonly basis: string
  readonly bytes: number
  readonly qat: boolean
  /** As of an `Option`. */
  readonly doubt?: number
  /** One for each stop of the context. */
  readonly footprints: readonly Footprint[]
}

export interface PageData {
  readonly stops: {
    readonly ram: readonly number[]
    readonly vram: readonly number[]
    readonly context: readonly number[]
  }
  /** Bytes that a model may take at each stop of `ram`, and of `vram`; of unified memory both are by `ram`. */
  readonly usable: { readonly ram: readonly number[]; readonly vram: readonly number[] }
  readonly unified: boolean
  readonly minSpeed: number
  readonly gpu?: string
  readonly models: readonly { readonly id: string; readonly name: string }[]
  readonly files: readonly PageFile[]
  /** Numbers of the stops to begin with. */
  readonly start: { readonly ram: number; readonly vram: number; readonly context: number }
}

export function pageData(prepared: Prepared): PageData {
  const { candidates, losses, run, minSpeed } = prepared
  const machine = withCard(prepared.machine)
  const atEach = stops.context.map((context) =>
    choices(optionsOf({ ...prepared, machine, run: { ...run, context } }), prepared),
  )
  // Of the card that is made up below nothing is known either.
  const doubts = new Map(optionsOf(prepared).map(({ id, doubt }) => [id, doubt]))
  const files = atEach[0].flatMap((option, i): PageFile[] => {
    const candidate = candidates.find(({ id }) => id === option.id)
    const loss = losses.get(option.id)
    if (!candidate || !loss) return []
    const { qat, bytes } = candidate
    const doubt = doubts.get(option.id)
    return [
      {
        id: option.id,
        name: nameOf(candidate),
        model: option.model,
        loss: loss.expected,
        interval: loss.interval,
        kind: loss.kind,
        basis: loss.basis,
        bytes,
        qat: qat.qat,
        ...(doubt !== undefined && { doubt }),
        footprints: atEach.map((options) => options[i].footprint),
      },
    ]
  })
  const models = [...new Set(files.map(({ model }) => model))].map((id) => ({
    id,
    name: candidates.find(({ group }) => group === id)?.model.name ?? id,
  }))
  const [card] = machine.gpus
  const gpu = cardNames(machine)
  const vramBytes = prepared.machine.gpus.reduce((sum, { totalBytes }) => sum + totalBytes, 0)
  const bytes = (gigabytes: number): number => gigabytes * 1e9
  return {
    stops,
    usable: {
      ram: stops.ram.map((stop) => usableMemory(bytes(stop))),
      vram: card.unified
        ? stops.ram.map((stop) => workingSet(bytes(stop)))
        : stops.vram.map((stop) => usableOnCard(bytes(stop))),
    },
    unified: card.unified,
    minSpeed,
    ...(gpu !== '' && { gpu }),
    ...{ models, files },
    start: {
      ram: nearest(stops.ram, machine.cpu.totalBytes / 1e9),
      vram: nearest(stops.vram, vramBytes / 1e9),
      context: nearest(stops.context, run.context),
    },
  }
}

/** The slider of a machine without a graphics card has one too, of which nothing is known. */
function withCard(machine: Machine): Machine {
  if (machine.gpus.length > 0) return machine
  const spec = { name: '', vramBytes: 8e9, unified: false }
  return { ...machine, gpus: describeMachine({ gpus: [spec] }).gpus }
}

/** The last stop that is not above a value, within a hundredth; the first if all are. */
const nearest = (all: readonly number[], value: number): number =>
  Math.max(
    0,
    all.findLastIndex((stop) => stop <= value * 1.01),
  )
