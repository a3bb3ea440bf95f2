/** What the page of `quench advise --open` knows: every file with what it takes at each context of the slider. */
import { choices, type Prepared } from '../advise.js'
import type { Footprint } from '../pick.js'

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
  /** One for each stop of the context. */
  readonly footprints: readonly Footprint[]
}

export interface PageData {
  readonly stops: {
    readonly ram: readonly number[]
    readonly vram: readonly number[]
    readonly context: readonly number[]
  }
  readonly unified: boolean
  readonly minSpeed: number
  readonly gpu?: string
  readonly models: readonly { readonly id: string; readonly name: string }[]
  readonly files: readonly PageFile[]
  /** Numbers of the stops to begin with. */
  readonly start: { readonly ram: number; readonly vram: number; readonly context: number }
}

export function pageData(prepared: Prepared): PageData {
  const { candidates, losses, target, run, minSpeed } = prepared
  const atEach = stops.context.map((context) => choices({ ...prepared, run: { ...run, context } }))
  const files = atEach[0].flatMap((option, i): PageFile[] => {
    const candidate = candidates.find(({ id }) => id === option.id)
    const loss = losses.get(option.id)
    if (!candidate || !loss) return []
    const { path, type, qat, bytes } = candidate
    return [
      {
        id: option.id,
        name: path === undefined ? `${type}${qat.qat ? ' QAT' : ''}` : path.replace(/^.*[\\/]/, ''),
        model: option.model,
        loss: loss.expected,
        interval: loss.interval,
        kind: loss.kind,
        basis: loss.basis,
        bytes,
        qat: qat.qat,
        footprints: atEach.map((options) => options[i].footprint),
      },
    ]
  })
  const models = [...new Set(files.map(({ model }) => model))].map((id) => ({
    id,
    name: candidates.find(({ group }) => group === id)?.model.name ?? id,
  }))
  return {
    stops,
    unified: target.unified,
    minSpeed,
    ...(target.gpu !== undefined && { gpu: target.gpu }),
    ...{ models, files },
    start: {
      ram: nearest(stops.ram, target.ramBytes / 1e9),
      vram: nearest(stops.vram, target.vramBytes / 1e9),
      context: nearest(stops.context, run.context),
    },
  }
}

/** The last stop that is not above a value, within a hundredth; the first if all are. */
const nearest = (all: readonly number[], value: number): number =>
  Math.max(
    0,
    all.findLastIndex((stop) => stop <= value * 1.01),
  )
