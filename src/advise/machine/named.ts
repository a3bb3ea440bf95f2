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
  /** Memory of the graphics card; 0 for none. */
  readonly vramBytes?: number
  /** Name of a graphics card or chip, as in the catalogue. */
  readonly gpu?: string
}

/**
 * What was assumed is said in `notes`.
 * @throws UsageError for a card that is unknown and whose memory is not given, and for absurd numbers
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
  const notes: string[] = []
  const found = gpu === undefined ? undefined : cardNamed(catalogue, gpu, vramBytes, notes)
  const unified = found?.unifiedMemory ?? false
  const spec = found
    ? gpuSpec(found, unified ? (ramBytes ?? vramBytes) : vramBytes)
    : unknownCard(gpu, vramBytes)
  // A chip that was sold with one size of memory needs no --ram.
  const ram = ramBytes ?? ((unified && spec?.vramBytes) || undefined)
  const sizes = found?.memoryGB.toSorted((a, b) => a - b) ?? []
  if (found && sizes.length > 1 && vramBytes === undefined && !(unified && ramBytes !== undefined))
    notes.push(
      `${found.names[0]} is sold with ${sizes.join(' and ')} GB; ${sizes[0]} GB are assumed, ${unified ? '--ram' : '--vram'} says otherwise.`,
    )
  const machine = describeMachine({
    ...(ram !== undefined && { ramBytes: ram }),
    gpus: spec && (unified || vramBytes !== 0) ? [spec] : [],
  })
  if (ram === undefined)
    notes.push(
      `The system's memory is taken to be this machine's, ${gigabytes(machine.cpu.totalBytes)}; --ram says otherwise.`,
    )
  return { machine, notes }
}

const unknownCard = (name = '', vramBytes = 0): GpuSpec | undefined =>
  vramBytes === 0 ? undefined : { name, vramBytes, unified: false }

function cardNamed(
  catalogue: Catalogue,
  name: string,
  vramBytes: number | undefined,
  notes: string[],
): Gpu | undefined {
  const found = gpuNamed(catalogue, name)
  if (found) return found
  const like = gpusLike(catalogue, name)
  const hint = like.length > 0 ? `; similar: ${like.join(', ')}` : ''
  if (vramBytes === undefined)
    throw new UsageError(
      `--gpu ${name}: the catalogue has no such card${hint}; give its memory with --vram instead`,
    )
  notes.push(`The catalogue has no card "${name}"${hint}: its speed is a guess.`)
  return undefined
}
