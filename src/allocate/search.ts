/**
 * The search for types: sensitivities first, then whole candidates.
 *
 * The loss of a tensor is estimated as its sensitivity times the error of a type. A sensitivity is measured: the KL divergence of the
 * model in which that tensor alone is rounded coarsely, over its error there. Such estimates add up badly at four bits and fewer, where
 * errors of tensors act on each other. So they only propose: the sensitivities of all tensors of a kind, of a part of the layers, or of
 * one tensor are scaled up or down, which swaps bits between these and the others, types are chosen anew within the budget, and the whole
 * candidate is measured. Only what is better stays.
 */
import { sideBySide } from '../evaluate/side-by-side.js'
import { type Choice, chooseWithin } from './choose.js'
import type { RoundedType } from './errors.js'
import type { Assignment, SearchStage } from './measure.js'

export interface SearchSettings {
  readonly errors: ReadonlyMap<string, readonly RoundedType[]>
  /** What a tensor of this many bytes takes of the budget. */
  readonly cost: (bytes: number) => number
  /** For all tensors in `errors` together, at most. */
  readonly budget: number
  /** Whole candidates that are measured at most. */
  readonly candidates: number
  readonly klds: (types: readonly Assignment[], stage: SearchStage) => Promise<number[]>
  readonly onProgress?: (stage: SearchStage, done: number, total: number) => void
}

export interface Found {
  readonly types: Assignment
  /** Of the whole candidate, in nats per token. */
  readonly kld: number
  /** KL divergence for each unit of relative error, by tensor. */
  readonly sensitivities: ReadonlyMap<string, number>
  /** The choice by sensitivities alone. */
  readonly first: { readonly types: Assignment; readonly kld: number }
}

type Scales = ReadonlyMap<string, number>

/** A candidate that was measured: what its sensitivities were scaled by. */
interface Candidate {
  readonly types: Assignment
  readonly scales: Scales
  readonly kld: number
}

/** A group of tensors whose sensitivities are scaled. */
interface Move {
  readonly group: readonly string[]
  readonly factor: number
}

/** Relative error of a type at which sensitivities are measured: large, so that the divergence stands out, as at three bits. */
const probeError = 0.02
/** Groups of tensors whose sensitivities are measured, at most; more matrices share one with their neighbours. */
const mostProbes = 96
/** By what sensitivities are scaled, in turn: 4.5 pays for a bit, which quarters an error, 2 for half a bit. */
const factors = [4.5, 1 / 4.5, 2, 1 / 2]
/** Parts of the layers whose sensitivities are scaled together. */
const depths = 4

/** @returns undefined if the smallest types exceed the budget */
export async function searchTypes(settings: SearchSettings): Promise<Found | undefined> {
  const none: Scales = new Map()
  if (!within(settings, none, none)) return undefined
  const sensitivities = await measureSensitivities(settings)
  const types = within(settings, sensitivities, none) as Assignment
  const [kld] = await settings.klds([types], 'candidates')
  const first = { types, kld }
  const best = await improve(settings, sensitivities, { ...first, scales: none })
  return { types: best.types, kld: best.kld, sensitivities, first }
}

/** Measures swaps, some side by side, from the best candidate so far. */
async function improve(
  settings: SearchSettings,
  sensitivities: ReadonlyMap<string, number>,
  first: Candidate,
): Promise<Candidate> {
  const { errors, klds, candidates: most, onProgress } = settings
  const seen = new Set([keyOf(first.types)])
  const moves = movesOf([...errors.keys()])
  let best = first
  let done = 1
  /** Moves that were better by themselves than what they were made from, to be tried together. */
  let together: Move[] = []
  const take = (wanted: readonly Move[][]): { types: Assignment; scales: Scales; moves: Move[] }[] =>
    wanted.flatMap((moves) => {
      const scales = scaled(best.scales, moves)
      const types = within(settings, sensitivities, scales) as Assignment
      if (seen.has(keyOf(types))) return []
      seen.add(keyOf(types))
      return [{ types, scales, moves }]
    })
  onProgress?.('candidates', done, most)
  while (done < most && (moves.length > 0 || together.length > 0)) {
    const room = Math.min(sideBySide, most - done)
    const tried = together.length > 0 ? take([together]) : []
    together = []
    while (tried.length < room && moves.length > 0) tried.push(...take([[moves.shift() as Move]]))
    const measured = await klds(
      tried.map(({ types }) => types),
      'candidates',
    )
    done += tried.length
    onProgress?.('candidates', done, most)
    const better = tried
      .map((candidate, i) => ({ ...candidate, kld: measured[i] }))
      .filter(({ kld }) => kld < best.kld)
      .sort((a, b) => a.kld - b.kld)
    if (better.length === 0) continue
    best = better[0]
    together = better.slice(1).flatMap(({ moves }) => moves)
  }
  onProgress?.('candidates', most, most)
  return best
}

function scaled(scales: Scales, moves: readonly Move[]): Scales {
  const all = new Map(scales)
  for (const { group, factor } of moves)
    for (const name of group) all.set(name, (all.get(name) ?? 1) * factor)
  return all
}

const keyOf = (types: Assignment): string => JSON.stringify([...types])

async function measureSensitivities({
  errors,
  klds,
  onProgress,
}: SearchSettings): Promise<Map<string, number>> {
  const groups = probeGroups([...errors.keys()])
  const probes = groups.map((group) => {
    const rounded = group.map((name) => ({
      name,
      probe: probeOf(errors.get(name) as readonly RoundedType[]),
    }))
    return {
      group,
      types: new Map(rounded.map(({ name, probe }) => [name, probe.type])),
      error: rounded.reduce((sum, { probe }) => sum + probe.error, 0),
    }
  })
  const sensitivities = new Map<string, number>()
  for (let i = 0; i < probes.length; i += sideBySide) {
    onProgress?.('sensitivities', i, probes.length)
    const some = probes.slice(i, i + sideBySide)
    const measured = await klds(
      some.map(({ types }) => types),
      'sensitivities',
    )
    for (const [j, { group, error }] of some.entries())
      for (const name of group) sensitivities.set(name, error > 0 ? Math.max(0, measured[j]) / error : 0)
  }
  onProgress?.('sensitivities', probes.length, probes.length)
  return sensitivities
}

/** The type whose error is nearest to that of the probes. */
function probeOf(types: readonly RoundedType[]): RoundedType {
  const distance = ({ error }: RoundedType) => Math.abs(Math.log(Math.max(error, 1e-9) / probeError))
  return types.reduce((a, b) => (distance(b) < distance(a) ? b : a))
}

/** The types that fit the budget and lose least by the estimates. */
function within(
  { errors, budget, cost }: SearchSettings,
  sensitivities: ReadonlyMap<string, number>,
  scales: Scales,
): Assignment | undefined {
  const options = new Map<string, Choice[]>()
  for (const [name, types] of errors) {
    const factor = (sensitivities.get(name) ?? 1) * (scales.get(name) ?? 1)
    options.set(
      name,
      types.map(({ type, bytes, error }) => ({ type, bytes: cost(bytes), loss: factor * error })),
    )
  }
  const chosen = chooseWithin(options, budget)
  return chosen && new Map(Array.from(chosen, ([name, { type }]) => [name, type]))
}

const layerOf = (name: string): number => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1)
const kindOf = (name: string): string => name.replace(/^blk\.\d+\./, '')

/** Tensors whose sensitivity is measured together: each by itself, or of many those of a kind in neighbouring layers. */
function probeGroups(names: readonly string[]): string[][] {
  const layers = Math.max(...names.map(layerOf)) + 1
  const kinds = new Set(names.map(kindOf)).size
  const parts = names.length <= mostProbes ? layers : Math.max(1, Math.floor(mostProbes / kinds))
  return grouped(
    names,
    (name) => `${kindOf(name)} ${Math.floor((layerOf(name) * parts) / Math.max(1, layers))}`,
  )
}

/** Kinds and parts of the layers by each of the factors, then every tensor by itself. */
function movesOf(names: readonly string[]): Move[] {
  const layers = Math.max(...names.map(layerOf)) + 1
  const part = (name: string): number => Math.floor((layerOf(name) * Math.min(depths, layers)) / layers)
  const groups = [
    ...grouped(names, kindOf),
    ...grouped(
      names.filter((name) => layerOf(name) >= 0),
      (name) => String(part(name)),
    ),
  ]
  const single = names.map((name) => [name])
  return [
    ...factors.flatMap((factor) => groups.map((group) => ({ group, factor }))),
    ...factors.flatMap((factor) => single.map((group) => ({ group, factor }))),
  ]
}

function grouped(names: readonly string[], keyOf: (name: string) => string): string[][] {
  const groups = new Map<string, string[]>()
  for (const name of names) {
    const key = keyOf(name)
    groups.set(key, [...(groups.get(key) ?? []), name])
  }
  return [...groups.values()]
}
