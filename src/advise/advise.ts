/**
 * `quench advise`: which file to take.
 *
 *   machine + names -> candidates -> what each takes and loses -> pick -> words and commands
 */
import { existsSync } from 'node:fs'
import { defaultStore, Store } from '../compare/store.js'
import { FileError } from '../errors.js'
import { aboveZero, checkNumbers, whole } from '../option-checks.js'
import { type Candidate, familyCandidates, fileCandidates, hashOfMeasured } from './candidates.js'
import { loadCatalogue } from './catalogue/catalogue.js'
import type { Catalogue } from './catalogue/types.js'
import { chosen } from './chosen.js'
import { type Command, commandsOf, trainCommand } from './commands.js'
import { footprintOf, type RunOptions } from './footprint.js'
import { ownMeasurements } from './measurements/export.js'
import { importedMeasurements } from './measurements/import.js'
import type { MeasurementRecord } from './measurements/record.js'
import {
  excessOf,
  type Limits,
  lackOf,
  limitsFrom,
  type Option,
  type Pick as Picked,
  picksOf,
  placeOf,
} from './pick.js'
import { fitCurve } from './quality/curve.js'
import { lossesOf } from './quality/loss.js'
import { curveRows } from './quality/rows.js'
import type { LossEstimate, Purpose } from './quality/types.js'
import { describeTarget, type Target } from './target.js'
import type { Advice, AdvisedFile, AdvisedModel, AdviseOptions } from './types.js'
import { fp4Note, sentencesOf } from './words.js'

/** What a kind of work needs where it is not said: tokens of context, and tokens per second. */
const needs: Readonly<Record<Purpose, { readonly context: number; readonly minSpeed: number }>> = {
  chat: { context: 8192, minSpeed: 8 },
  agent: { context: 32_768, minSpeed: 15 },
  code: { context: 16_384, minSpeed: 10 },
  'long-context': { context: 65_536, minSpeed: 5 },
}
const usualContext = 8192
/** Slower than people read. */
const usualSpeed = 5

/** Everything that advice is made from, and that the page of `--open` needs too. */
export interface Prepared {
  readonly catalogue: Catalogue
  readonly target: Target
  readonly run: RunOptions
  readonly minSpeed: number
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
    ramBytes: aboveZero,
  })
  const { purpose, parallel = 1, cacheTypes = { keys: 'f16', values: 'f16' } } = options
  const catalogue = await loadCatalogue()
  const { ramBytes, vramBytes, gpu } = options
  const target = await describeTarget(catalogue, {
    ...(ramBytes !== undefined && { ramBytes }),
    ...(vramBytes !== undefined && { vramBytes }),
    ...(gpu !== undefined && { gpu }),
  })
  const need = purpose ? needs[purpose] : { context: usualContext, minSpeed: usualSpeed }
  const run = { context: options.context ?? need.context, parallel, ...cacheTypes }
  const { files, families, ofHub } = await chosen(options.names ?? [], catalogue)
  return withStore(options.store, async (store) => {
    const own = store ? await ownMeasurements(store) : []
    const imported = store ? importedMeasurements(store) : []
    const sizes = new Set([...own, ...imported].map(({ file }) => file.bytes))
    const { candidates: local, failures } = await fileCandidates(
      files,
      catalogue,
      hashOfMeasured(store, sizes),
    )
    if (failures.length > 0 && local.length + families.length + ofHub.length === 0)
      throw new FileError(failures[0].path, failures[0].problem.replace(`${failures[0].path}: `, ''))
    const candidates = [
      ...local,
      ...ofHub,
      ...families.flatMap((family) => familyCandidates(family, catalogue)),
    ]
    return {
      ...{ catalogue, target, run, candidates, failures, notes: target.notes },
      minSpeed: options.minSpeed ?? need.minSpeed,
      ...(purpose && { purpose }),
      losses: allLosses(candidates, catalogue, own, imported, purpose),
      measurements: { own: own.length, imported: imported.length },
    }
  })
}

/** A store that does not exist is not made for a question. */
async function withStore<T>(path: string | undefined, work: (store?: Store) => Promise<T>): Promise<T> {
  if (!existsSync(path ?? defaultStore())) {
    if (path !== undefined) throw new FileError(path, 'there is no such store of measurements')
    return work()
  }
  return Store.with(path, work)
}

function allLosses(
  candidates: readonly Candidate[],
  catalogue: Catalogue,
  own: readonly MeasurementRecord[],
  imported: readonly MeasurementRecord[],
  purpose: Purpose | undefined,
): Map<string, LossEstimate> {
  const curve = fitCurve(curveRows(catalogue))
  const evidence = { catalogue, curve, own, imported, ...(purpose && { purpose }) }
  const losses = new Map<string, LossEstimate>()
  for (const group of new Set(candidates.map((candidate) => candidate.group))) {
    const ofModel = candidates.filter((candidate) => candidate.group === group)
    for (const [id, loss] of lossesOf(ofModel, evidence)) losses.set(id, loss)
  }
  return losses
}

const limitsOf = ({ target, minSpeed }: Prepared): Limits =>
  limitsFrom(target.ramBytes, target.vramBytes, target.unified, minSpeed)
/** Every file as the picker sees it. */
const optionsOf = ({ candidates, losses, target, run }: Omit<Prepared, 'minSpeed'>): Option[] =>
  candidates.map((candidate) => ({
    id: candidate.id,
    model: candidate.group,
    loss: (losses.get(candidate.id) as LossEstimate).expected,
    bytes: candidate.bytes,
    footprint: footprintOf(candidate.sized, target, run),
  }))

/** Those of them that may be picked: full precision is what others are measured by, and only taken where there is nothing else. */
export function choices({ losses, candidates, ...rest }: Omit<Prepared, 'minSpeed'>): Option[] {
  const options = optionsOf({ losses, candidates, ...rest })
  const quantized = options.filter(({ id }) => losses.get(id)?.kind !== 'reference')
  return options.filter(
    (option) => quantized.includes(option) || !quantized.some(({ model }) => model === option.model),
  )
}

/** Which file to take. @throws like `prepareAdvice` */
export const advise = async (options: AdviseOptions = {}): Promise<Advice> =>
  adviceFrom(await prepareAdvice(options))

export function adviceFrom(prepared: Prepared): Advice {
  const { catalogue, candidates, target, run, minSpeed, purpose, measurements, failures } = prepared
  const limits = limitsOf(prepared)
  const options = optionsOf(prepared)
  const byId = new Map(candidates.map((candidate) => [candidate.id, candidate]))
  const files = new Map(options.map((option) => [option.id, advised(option, byId, prepared, limits)]))
  const told = { catalogue, candidates: byId, files, limits, target, run }
  const models = picksOf(choices(prepared), limits).map((pick): AdvisedModel => {
    const own = options
      .filter(({ model }) => model === pick.model)
      .map(({ id }) => files.get(id) as AdvisedFile)
    const [first] = own
    const { model, family, licence } = byId.get(first.id) as Candidate
    return {
      model: model.name,
      ...(family && { family: family.id }),
      ...(licence !== undefined && { licence }),
      parameters: model.parameters,
      files: own.sort((a, b) => a.loss.expected - b.loss.expected || a.bytes - b.bytes),
      ...(pick.best !== undefined && { pick: pick.best }),
      ...(pick.runnerUp !== undefined && { runnerUp: pick.runnerUp }),
      ...(pick.next && { next: pick.next }),
      sentences: sentencesOf(pick, told),
      commands: commandsFor(pick, own, byId, run),
      abilities: catalogue.abilities
        .filter((ability) => ability.family === family?.id)
        .map(({ measure, score, sources }) => ({ measure, score, source: sources[0] })),
      drafts: (family?.drafts ?? []).map(({ repository, kind }) => ({
        ...(repository !== undefined && { repository }),
        kind,
      })),
    }
  })
  const fp4 = fp4Note(target)
  return {
    schema: 1,
    machine: {
      described: target.described,
      ramBytes: target.ramBytes,
      ramUsableBytes: Math.floor(limits.ram),
      vramBytes: target.vramBytes,
      vramUsableBytes: Math.floor(limits.vram),
      unified: target.unified,
      ...(target.gpu !== undefined && { gpu: target.gpu }),
    },
    run: {
      context: run.context,
      parallel: run.parallel,
      cacheTypes: { keys: run.keys, values: run.values },
      ...(purpose && { purpose }),
      minSpeed,
    },
    models: models.sort(
      (a, b) => Number(b.pick !== undefined) - Number(a.pick !== undefined) || b.parameters - a.parameters,
    ),
    measurements,
    notes: [
      ...prepared.notes,
      ...(fp4 === undefined ? [] : [fp4]),
      ...(candidates.some(({ source }) => source !== 'file')
        ? ['Memory of files that are not at hand is estimated from the shape of their family.']
        : []),
      ...(models.length > 1
        ? [
            'KL divergence compares files of one model; it says nothing about which of several models is better.',
          ]
        : []),
    ],
    failures,
  }
}

function advised(
  option: Option,
  byId: ReadonlyMap<string, Candidate>,
  { losses, run }: Prepared,
  limits: Limits,
): AdvisedFile {
  const { id, source, path, repository, type, bytes, bitsPerWeight, qat, sized, trainedContext } = byId.get(
    option.id,
  ) as Candidate
  const place = placeOf(option.footprint, limits)
  const lack = lackOf(option, limits)
  const layers = sized.shape.blocks + 1
  const expertsLeft =
    option.footprint.steps.length > 1 && place.moved >= layers ? place.moves - place.moved : 0
  const long = trainedContext !== undefined && run.context > trainedContext
  return {
    ...{ id, source, type, bytes, bitsPerWeight, qat },
    ...(path !== undefined && { path }),
    ...(repository !== undefined && { repository }),
    loss: losses.get(id) as LossEstimate,
    memory: {
      ramBytes: Math.round(place.ram),
      vramBytes: Math.round(place.vram),
      gpuLayers: Math.min(layers, place.moved),
      ...(expertsLeft > 0 && { cpuExpertLayers: expertsLeft }),
    },
    speed: { generate: 1 / place.seconds, prompt: 1 / place.promptSeconds },
    fits: excessOf(place, limits) === 0 && lack.lacks === 'nothing',
    ...(lack.lacks !== 'nothing' && { lacks: { what: lack.lacks, amount: lack.amount } }),
    notes: long ? [`It was trained for a context of ${trainedContext} tokens.`] : [],
  }
}

function commandsFor(
  pick: Picked,
  own: readonly AdvisedFile[],
  byId: ReadonlyMap<string, Candidate>,
  run: RunOptions,
): Command[] {
  const best = own.find(({ id }) => id === pick.best)
  if (!best) return []
  const candidate = byId.get(best.id) as Candidate
  const commands = commandsOf(best, candidate, run)
  const trained = own.some(({ qat }) => qat.qat && qat.suits !== false)
  if (trained || best.bitsPerWeight > 5.2) return commands
  const whole = own.find(({ path, loss }) => path !== undefined && loss.kind === 'reference')
  const train = trainCommand(candidate, best.type, whole?.path)
  return train ? [...commands, train] : commands
}
