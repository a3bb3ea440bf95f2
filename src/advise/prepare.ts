/** What advice is made from: the machine and its speed, the candidates, and what each of them loses and takes. */
import { existsSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { defaultStore, Store } from '../compare/store.js'
import { FileError, QuenchError, UsageError } from '../errors.js'
import { checkNumbers, whole } from '../option-checks.js'
import { type Candidate, familyCandidates, runOf } from './candidates.js'
import { loadCatalogue } from './catalogue/catalogue.js'
import type { Catalogue } from './catalogue/types.js'
import { chosen } from './chosen.js'
import { type DraftModel, draftNamed, suitsDraft, withDraft } from './draft.js'
import { fileCandidates, hashOfMeasured } from './files.js'
import { footprintOf, type RunOptions, speedAt } from './footprint.js'
import type { Machine } from './machine/machine.js'
import { namedMachine } from './machine/named.js'
import { probeMachine } from './machine/probe.js'
import { ownMeasurements } from './measurements/export.js'
import { importedMeasurements } from './measurements/import.js'
import type { MeasurementRecord } from './measurements/record.js'
import type { Option } from './pick.js'
import { lossesOf } from './quality/loss.js'
import { curveOf } from './quality/rows.js'
import type { LossEstimate, Purpose } from './quality/types.js'
import { calibrationOf } from './speed/calibration.js'
import { assumptionsOf } from './speed/estimate.js'
import type { Calibration } from './speed/types.js'
import type { Advice, AdviseOptions } from './types.js'

/** What a kind of work needs where it is not said: tokens of context, and tokens per second. */
const needs: Readonly<Record<Purpose, { readonly context: number; readonly minSpeed: number }>> = {
  chat: { context: 8192, minSpeed: 8 },
  agent: { context: 32_768, minSpeed: 15 },
  code: { context: 16_384, minSpeed: 10 },
  'long-context': { context: 65_536, minSpeed: 5 },
}
/** Slower than people read. */
const usual = { context: 8192, minSpeed: 5 }

/** Everything that advice is made from, and that the page of `--open` needs too. */
export interface Prepared {
  readonly catalogue: Catalogue
  readonly machine: Machine
  readonly calibration: Calibration
  readonly run: RunOptions
  readonly minSpeed: number
  /** Beside every candidate that it suits. */
  readonly draft?: DraftModel
  readonly purpose?: Purpose
  readonly candidates: readonly Candidate[]
  readonly losses: ReadonlyMap<string, LossEstimate>
  readonly measurements: Advice['measurements']
  readonly failures: Advice['failures']
  readonly notes: readonly string[]
}

/** @throws UsageError for options that make no sense and names that nothing has; FileError for a damaged catalogue or store */
export async function prepareAdvice(options: AdviseOptions): Promise<Prepared> {
  checkNumbers(options, {
    context: whole(1, 2 ** 26),
    parallel: whole(1, 256),
    minSpeed: {
      holds: (value) => value >= 0 && value <= 1e6,
      text: 'a number of tokens per second from 0 to 1000000',
    },
  })
  const { purpose, parallel = 1, cacheTypes = { keys: 'f16', values: 'f16' } } = options
  const catalogue = await loadCatalogue()
  const { machine, notes } = namedMachine(catalogue, options)
  const need = purpose ? needs[purpose] : usual
  const run = { context: options.context ?? need.context, parallel, cacheTypes }
  const { files, families, ofHub } = await chosen(options.names ?? [], catalogue, options)
  const draft = options.draft === undefined ? undefined : await draftNamed(options.draft, catalogue)
  if (options.countDraft && !draft) throw new UsageError('--count-draft says nothing without --draft')
  return withStore(options.store, machine, async (store) => {
    const own = store ? await ownMeasurements(store) : []
    const imported = store ? importedMeasurements(store) : []
    const sizes = new Set([...own, ...imported].map(({ file }) => file.bytes))
    const hash = hashOfMeasured(store, sizes)
    const { candidates: local, failures: damaged } = await fileCandidates(files, catalogue, hash)
    const failures = [...damaged, ...ofHub.failures]
    if (failures.length > 0 && local.length + families.length + ofHub.candidates.length === 0)
      throw new FileError(failures[0].path, failures[0].problem.replace(`${failures[0].path}: `, ''))
    const found = [
      ...local,
      ...ofHub.candidates,
      ...families.flatMap((family) => familyCandidates(family, catalogue)),
    ]
    const candidates = draft ? found.map((one) => drafted(one, draft, options.countDraft ?? false)) : found
    const measured =
      store && !machine.described ? await measuredMachine(machine, store, candidates, options) : {}
    return {
      ...{ catalogue, machine, run, candidates, failures },
      calibration: { generate: [], prompt: [] },
      ...measured,
      notes: [
        ...catalogueNotes(catalogue, candidates),
        ...notes,
        ...ofHub.notes,
        ...(measured.notes ?? []),
        ...assumptionsOf(measured.machine ?? machine),
      ],
      minSpeed: options.minSpeed ?? need.minSpeed,
      ...(purpose && { purpose }),
      ...(draft && { draft }),
      losses: allLosses(candidates, catalogue, own, imported, purpose),
      measurements: { own: own.length, imported: imported.length },
    }
  })
}

/** What was refreshed of the families in question, or why it is not used. */
function catalogueNotes({ updated, problem }: Catalogue, candidates: readonly Candidate[]): string[] {
  const count = new Set(
    candidates.flatMap(({ family }) => (family && updated?.families.includes(family.id) ? [family.id] : [])),
  ).size
  return [
    ...(problem === undefined ? [] : [`What the catalogue was refreshed with is not used: ${problem}`]),
    ...(updated && count > 0
      ? [
          `What is known of ${count === 1 ? 'this family' : `${count} families`} was refreshed from the Hub on ${updated.made}.`,
        ]
      : []),
  ]
}

/** A candidate with the draft beside it, if llama.cpp takes that one for it. */
const drafted = (candidate: Candidate, { sized }: DraftModel, counted: boolean): Candidate =>
  suitsDraft(candidate.sized, sized)
    ? { ...candidate, sized: withDraft(candidate.sized, sized, counted) }
    : candidate

/** A store that does not exist is not made for a question about another machine. */
async function withStore<T>(
  path: string | undefined,
  { described }: Machine,
  work: (store?: Store) => Promise<T>,
): Promise<T> {
  if (!existsSync(path ?? defaultStore())) {
    if (path !== undefined) throw new FileError(path, 'there is no such store of measurements')
    if (described) return work()
  }
  return Store.with(path, work)
}

/** Types that are measured if they are not yet, which takes about a second each; of others only what is stored is taken. */
const mostProbed = 4

/** Whether other programs compute, so that what is measured now would be too slow for good; Windows does not say. */
const busy = (): boolean => loadavg()[0] > cpus().length / 2

/** This machine with its measured rates, and files that were benchmarked on it. */
async function measuredMachine(
  machine: Machine,
  store: Store,
  candidates: readonly Candidate[],
  { signal, onProgress }: AdviseOptions,
): Promise<Partial<Pick<Prepared, 'machine' | 'calibration' | 'notes'>>> {
  const bytes = new Map<string, number>()
  for (const { sized } of candidates)
    for (const part of sized.work({}).weights) bytes.set(part.type, (bytes.get(part.type) ?? 0) + part.bytes)
  const types = [...bytes].sort((a, b) => b[1] - a[1]).map(([type]) => type)
  const waits = busy()
  try {
    const probed = await probeMachine(machine, {
      ...{ types, store, most: waits ? 0 : mostProbed },
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
    })
    return {
      machine: probed,
      calibration: calibrationOf(store, probed),
      notes:
        waits && probed.cpu.rates.size === 0
          ? ['This machine is busy, so its speed was not measured; ask again when it is quiet.']
          : [],
    }
  } catch (error) {
    if (!(error instanceof QuenchError)) throw error
    return { notes: [`The speed of this machine could not be measured: ${error.message}`] }
  }
}

function allLosses(
  candidates: readonly Candidate[],
  catalogue: Catalogue,
  own: readonly MeasurementRecord[],
  imported: readonly MeasurementRecord[],
  purpose: Purpose | undefined,
): Map<string, LossEstimate> {
  const evidence = { catalogue, curve: curveOf(catalogue), own, imported, ...(purpose && { purpose }) }
  const losses = new Map<string, LossEstimate>()
  for (const group of new Set(candidates.map((candidate) => candidate.group))) {
    const ofModel = candidates.filter((candidate) => candidate.group === group)
    for (const [id, loss] of lossesOf(ofModel, evidence)) losses.set(id, loss)
  }
  return losses
}

type Weighed = Pick<Prepared, 'candidates' | 'losses' | 'machine' | 'run' | 'calibration'>

/** Every file as the picker sees it. */
export const optionsOf = ({ candidates, losses, machine, run, calibration }: Weighed): Option[] =>
  candidates.map((candidate) => ({
    ...doubtOf(candidate, machine, runOf(candidate, run), calibration),
    id: candidate.id,
    model: candidate.group,
    loss: (losses.get(candidate.id) as LossEstimate).expected,
    bytes: candidate.bytes,
    footprint: footprintOf(candidate.sized, machine, runOf(candidate, run), calibration),
  }))

/** A guess is not right to this factor, so that a file that misses the least speed by less is not refused for it. */
const guessed = 1.1

/** Where the speed is no guess, the limit holds as it is. */
function doubtOf(
  { sized }: Candidate,
  machine: Machine,
  run: RunOptions,
  calibration: Calibration,
): Pick<Option, 'doubt'> {
  const gpuLayers = machine.gpus.length > 0 ? sized.layers + 1 : 0
  const { basis } = speedAt(sized, machine, run, calibration, { gpuLayers })
  return basis === 'guess' ? { doubt: guessed } : {}
}

/** Those of them that may be picked: full precision is what others are measured by, and only taken where there is nothing else. */
export function choices(options: readonly Option[], { losses }: Pick<Prepared, 'losses'>): Option[] {
  const quantized = options.filter(({ id }) => losses.get(id)?.kind !== 'reference')
  const models = new Set(quantized.map(({ model }) => model))
  return options.filter((option) => quantized.includes(option) || !models.has(option.model))
}
