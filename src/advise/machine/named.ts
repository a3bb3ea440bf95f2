/** The machine that advice is for: this one, or one that options describe by sizes and the name of a card. */
import { UsageError } from '../../errors.js'
import { gigabytes } from '../../format.js'
import { gpuNamed, gpusLike } from '../catalogue/names.js'
import type { Catalogue, Gpu } from '../catalogue/types.js'
import { type GpuSpec, gpuSpec } from './gpu.js'
import { describeMachine, type Machine } from './machine.js'

export interface NamedMachineOptions {
  /** Memory of the system in bytes. */
  readonly ramBytes?: number
  /** Memory of the graphics card, or of each of several; 0 for none. */
  readonly vramBytes?: number | readonly number[]
  /** Name of a graphics card or chip, as in the catalogue, or of each of several. */
  readonly gpu?: string | readonly string[]
}

/** As many devices as llama.cpp takes. */
const mostCards = 16

/**
 * What was assumed is said in `notes`.
 * @throws UsageError for a card that is unknown and whose memory is not given, for options that contradict each other, and for absurd numbers
 */
export function namedMachine(
  catalogue: Catalogue,
  { ramBytes, vramBytes, gpu }: NamedMachineOptions,
): { readonly machine: Machine; readonly notes: readonly string[] } {
  const specOf = (name: string): GpuSpec | undefined => {
    const known = gpuNamed(catalogue, name)
    return known && gpuSpec(known)
  }
  if (ramBytes === undefined && vramBytes === undefined && gpu === undefined)
    return { machine: describeMachine({ specOf }), notes: [] }
  const notes = new Set<string>()
  const cards = cardsOf(listOf(gpu), listOf(vramBytes)).map(({ name, bytes }) => {
    const found = name === undefined ? undefined : cardNamed(catalogue, name, bytes, notes)
    const unified = found?.unifiedMemory ?? false
    const sizes = found?.memoryGB.toSorted((a, b) => a - b) ?? []
    if (found && sizes.length > 1 && bytes === undefined && !(unified && ramBytes !== undefined))
      notes.add(
        `${found.names[0]} is sold with ${sizes.join(' and ')} GB; ${sizes[0]} GB are assumed, ${unified ? '--ram' : '--vram'} says otherwise.`,
      )
    return found
      ? gpuSpec(found, unified ? (ramBytes ?? bytes) : bytes)
      : { name: name ?? '', vramBytes: bytes ?? 0, unified: false }
  })
  const shared = cards.find(({ unified }) => unified)
  if (shared && cards.length > 1)
    throw new UsageError(
      `--gpu ${shared.name}: it shares the memory of its system, so it is the only one there`,
    )
  // A chip that was sold with one size of memory needs no --ram.
  const ram = ramBytes ?? (shared?.vramBytes || undefined)
  const machine = describeMachine({ ...(ram !== undefined && { ramBytes: ram }), gpus: cards })
  if (ram === undefined)
    notes.add(
      `The system's memory is taken to be this machine's, ${gigabytes(machine.cpu.totalBytes)}; --ram says otherwise.`,
    )
  return { machine, notes: [...notes] }
}

const listOf = <T extends string | number>(given: T | readonly T[] | undefined): readonly T[] =>
  given === undefined ? [] : typeof given === 'object' ? given : [given]

interface Card {
  readonly name?: string | undefined
  readonly bytes?: number | undefined
}

/** One name or one size is that of every card. */
function cardsOf(names: readonly string[], sizes: readonly number[]): Card[] {
  if (sizes.includes(0)) {
    if (names.length > 0)
      throw new UsageError(
        '--vram 0 says that there is no graphics card, and --gpu names one; leave one of them out',
      )
    if (sizes.length > 1)
      throw new UsageError('--vram: one of several graphics cards has no memory; leave it out')
    return []
  }
  const count = Math.max(names.length, sizes.length)
  if (count > mostCards)
    throw new UsageError(`llama.cpp takes at most ${mostCards} graphics cards, not ${count}`)
  if (names.length > 1 && sizes.length > 1 && names.length !== sizes.length)
    throw new UsageError(
      `--gpu names ${names.length} cards and --vram ${sizes.length} sizes; give one size, or one for each card`,
    )
  const at = <T>(all: readonly T[], i: number): T | undefined => (all.length === 1 ? all[0] : all[i])
  return Array.from({ length: count }, (_, i) => ({ name: at(names, i), bytes: at(sizes, i) }))
}

function cardNamed(
  catalogue: Catalogue,
  name: string,
  vramBytes: number | undefined,
  notes: Set<string>,
): Gpu | undefined {
  const found = gpuNamed(catalogue, name)
  if (found) return found
  const like = gpusLike(catalogue, name)
  const hint = like.length > 0 ? `; similar: ${like.join(', ')}` : ''
  if (vramBytes === undefined)
    throw new UsageError(
      `--gpu ${name}: the catalogue has no such card${hint}; give its memory with --vram instead`,
    )
  notes.add(`The catalogue has no card "${name}"${hint}: its speed is a guess.`)
  return undefined
}
