/**
 * The pick: of the files of a model that fit into memory and are fast enough, the one with the least expected loss.
 *
 * The page of `quench advise --open` runs these very functions: their source is written into it. So this file imports nothing,
 * and its functions use nothing but their arguments and each other.
 */

/** What a model takes in one state: bytes of the system's memory and of the graphics cards', seconds per token and per prompt token. */
export interface Load {
  readonly ram: number
  readonly vram: number
  readonly seconds: number
  readonly promptSeconds: number
}

/**
 * What a file takes, from everything on the processor (the first load) to everything on the graphics cards (the last). Between two
 * loads layers move one by one, each with an equal part of the difference.
 */
export interface Footprint {
  readonly loads: readonly Load[]
  /** Moves from each load to the next; one less than loads. */
  readonly steps: readonly number[]
  /** Bytes on a graphics card as soon as one layer is there: compute buffers. */
  readonly fixedVram: number
}

export interface Limits {
  /** Bytes that a model may take. */
  readonly ram: number
  readonly vram: number
  /** Whether the two are one memory, as on Apple's chips; `vram` is then the most of it that graphics may use. */
  readonly unified: boolean
  /** Tokens per second. */
  readonly minSpeed: number
}

export interface Option {
  readonly id: string
  /** Only options of one model are compared by their losses. */
  readonly model: string
  /** Expected KL divergence, nats per token. */
  readonly loss: number
  readonly bytes: number
  readonly footprint: Footprint
  /** By what factor it may be faster, where its speed is a guess: what may be fast enough is not too slow. Default 1. */
  readonly doubt?: number
}

/** Where an option would run. */
export interface Place extends Load {
  /** Moves that were made, of all. */
  readonly moved: number
  readonly moves: number
}

export interface Pick {
  readonly model: string
  /** Ids; absent if nothing fits. */
  readonly best?: string
  readonly runnerUp?: string
  /** The option of less loss that lacks least. */
  readonly next?: { readonly id: string; readonly lacks: 'memory' | 'speed'; readonly amount: number }
  /** If nothing fits: the option that lacks least memory. */
  readonly closest?: { readonly id: string; readonly lacks: 'memory' | 'speed'; readonly amount: number }
}

/** The load after so many moves. */
export function loadAfter(footprint: Footprint, moved: number): Load {
  let rest = moved
  for (let i = 0; i < footprint.steps.length; i++) {
    const steps = footprint.steps[i]
    if (rest > steps) {
      rest -= steps
      continue
    }
    const from = footprint.loads[i]
    const to = footprint.loads[i + 1]
    const share = steps === 0 ? 1 : rest / steps
    const fixed = i === 0 && rest > 0 ? footprint.fixedVram : from.vram
    const between = (a: number, b: number): number => a * (1 - share) + b * share
    return {
      ram: between(from.ram, to.ram),
      vram: rest === 0 ? from.vram : between(fixed, to.vram),
      seconds: between(from.seconds, to.seconds),
      promptSeconds: between(from.promptSeconds, to.promptSeconds),
    }
  }
  return footprint.loads[footprint.loads.length - 1]
}

/** Bytes by which a load exceeds the memory; 0 if it fits. */
export function excessOf(load: Load, limits: Limits): number {
  const overVram = Math.max(0, load.vram - limits.vram)
  const used = limits.unified ? load.ram + load.vram : load.ram
  return overVram + Math.max(0, used - limits.ram)
}

/** As much on the graphics cards as fits; the place that lacks least memory if none fits. */
export function placeOf(footprint: Footprint, limits: Limits): Place {
  const moves = footprint.steps.reduce((sum, steps) => sum + steps, 0)
  let best: Place | undefined
  let least = Number.POSITIVE_INFINITY
  for (let moved = limits.vram > 0 ? moves : 0; moved >= 0; moved--) {
    const load = loadAfter(footprint, moved)
    const excess = excessOf(load, limits)
    if (excess < least) {
      least = excess
      best = { ...load, moved, moves }
    }
    if (excess === 0) break
  }
  return best as Place
}

/** What an option lacks on a machine: nothing, memory in bytes, or speed in tokens per second. */
export function lackOf(
  option: Option,
  limits: Limits,
): { readonly lacks: 'nothing' | 'memory' | 'speed'; readonly amount: number } {
  const place = placeOf(option.footprint, limits)
  const excess = excessOf(place, limits)
  if (excess > 0) return { lacks: 'memory', amount: excess }
  const speed = 1 / place.seconds
  return speed * (option.doubt ?? 1) < limits.minSpeed
    ? { lacks: 'speed', amount: limits.minSpeed - speed }
    : { lacks: 'nothing', amount: 0 }
}

/** Least loss first; of equal losses the smaller file, then by name, so that the order is the same everywhere. */
export function inOrder(a: Option, b: Option): number {
  return a.loss - b.loss || a.bytes - b.bytes || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
}

/** The pick among the options of each model, in the order in which the models first occur. */
export function picksOf(options: readonly Option[], limits: Limits): Pick[] {
  const models = [...new Set(options.map((option) => option.model))]
  return models.map((model) => {
    const own = options
      .filter((option) => option.model === model)
      .sort(inOrder)
      .map((option) => ({ option, lack: lackOf(option, limits) }))
    const fitting = own.filter(({ lack }) => lack.lacks === 'nothing').map(({ option }) => option)
    const missing = own.flatMap(({ option, lack }) =>
      lack.lacks === 'nothing'
        ? []
        : [{ id: option.id, loss: option.loss, lacks: lack.lacks, amount: lack.amount }],
    )
    const nearest = (all: typeof missing) => {
      // Memory can be bought, so what lacks memory comes before what is too slow.
      const [first] = all.sort((a, b) =>
        a.lacks === b.lacks ? a.amount - b.amount : a.lacks === 'memory' ? -1 : 1,
      )
      return first && { id: first.id, lacks: first.lacks, amount: first.amount }
    }
    const [best, runnerUp] = fitting
    const next = best && nearest(missing.filter(({ loss }) => loss < best.loss))
    const closest = best ? undefined : nearest(missing)
    return {
      model,
      ...(best && { best: best.id }),
      ...(runnerUp && { runnerUp: runnerUp.id }),
      ...(next && { next }),
      ...(closest && { closest }),
    }
  })
}
