/**
 * Makes the files that a comparison lacks: the PTQ ladder by the reference quantizer, and trained files. An existing file with
 * the same contents as made before is kept.
 */

import { basename, join } from 'node:path'
import { onnxruntimeVersion } from '../backends/onnxruntime.js'
import type { TrainEvent, TrainSettings } from '../config/options.js'
import { readTexts } from '../data/texts.js'
import { TeacherCache } from '../engine/teacher-cache.js'
import { FileError, UsageError } from '../errors.js'
import type { Failure } from '../failures.js'
import { makeFolder } from '../folders.js'
import { quote } from '../gguf/index.js'
import { inspectFile } from '../gguf/inspect.js'
import { contentHash } from '../hashes.js'
import { memoryBudget } from '../memory.js'
import { choice } from '../option-checks.js'
import type { Output } from '../outputs.js'
import { needsMatrix } from '../quantize/needs-importance.js'
import { quantizedTypes } from '../quantize/options.js'
import { checkPossible, planQuantization } from '../quantize/plan.js'
import { quantizeFile } from '../quantize/ptq.js'
import { hasLeftovers, keptBeside } from '../resume/leftovers.js'
import { thisMachine } from '../speed/index.js'
import { threadCount } from '../threads.js'
import type { TrainReport } from '../train/report.js'
import { train } from '../train/train.js'
import { makeImportance } from './importance.js'
import { type Rung, rungName, rungsOf } from './ladder.js'
import type { Store } from './store.js'

/** A file of the comparison. */
export interface Entry {
  /** `Q4_0`, `Q4_0 imatrix`, `Q4_0 QAT`, or the name of a given file; unique. */
  readonly name: string
  readonly method: 'ptq' | 'qat'
  /** Whether an importance matrix was used. */
  readonly importance: boolean
  readonly path: string
  readonly hash: string
  /** For a file that was trained here. */
  readonly training?: TrainReport
}

export interface MakeOptions {
  /** The full-precision model. */
  readonly model: string
  readonly modelHash: string
  readonly types: readonly string[] | undefined
  /** Path of an importance matrix; `auto`: one is made; `none`: plain PTQ alone. */
  readonly imatrix: string
  readonly train: readonly string[]
  /** Existing files. */
  readonly files: readonly string[]
  /** Folder for new files. */
  readonly folder: string
  readonly training: TrainSettings
  /** Versions of quench and llama.cpp, for the store's keys. */
  readonly versions: Readonly<Record<string, string>>
  readonly onQuantize?: (name: string, done: number, total: number) => void
  readonly onImportance?: (done: number, total: number) => void
  readonly onTrain?: (type: string, event: TrainEvent) => void
  readonly onWarning?: ((warning: string) => void) | undefined
}

/**
 * PTQ files first, then trained files, then given ones; the ladder includes every type that is trained. Given files that
 * cannot be read are added to `failures`; of those with the same contents only the first is an entry.
 */
export async function makeFiles(
  store: Store,
  options: MakeOptions,
): Promise<{ entries: Entry[]; failures: Failure[]; warnings: string[] }> {
  const { model, folder, train: trained, files } = options
  const rungs = rungsToMake(options)
  const types = [...new Set(rungs.map(({ type }) => type))]
  const unknown = types.find((type) => !quantizedTypes.includes(type))
  if (unknown !== undefined)
    throw new UsageError(`the type ${unknown} is unknown; ${choice(unknown, quantizedTypes)}`)
  for (const { type, importance } of rungs)
    if (!importance && needsMatrix(type)) checkPossible(await planQuantization(model, type))
  if (types.length > 0) makeFolder(folder)
  const output = (name: string): string => madePath(model, folder, name)
  const entries: Entry[] = []
  const imatrix = rungs.some(({ importance }) => importance)
    ? await importanceFile(store, options)
    : undefined
  for (const rung of rungs) entries.push(await makePtq(store, rung, imatrix, options))
  const teacher = new TeacherCache(256 << 20)
  for (const type of trained)
    entries.push(await makeTrained(store, type, output(`${type}-QAT`), teacher, options))
  const names = uniqueNames(
    files,
    entries.map(({ name }) => name),
  )
  const failures: Failure[] = []
  const warnings: string[] = []
  for (const [i, path] of files.entries()) {
    try {
      const hash = await store.hashOf(path)
      const twin = entries.find((entry) => entry.hash === hash)
      if (twin)
        warnings.push(`${quote(path)} has the same contents as ${quote(twin.path)} and is compared once`)
      else entries.push({ name: names[i], ...(await originOf(path)), path, hash })
    } catch (error) {
      if (!(error instanceof FileError) || error.path !== path) throw error
      failures.push({ path, problem: error.message })
    }
  }
  return { entries, failures, warnings }
}

/** Path of a new file, for a name such as `Q4_0` or `Q4_0-QAT`. */
function madePath(model: string, folder: string, name: string): string {
  const stem = basename(model)
    .replace(/\.gguf$/, '')
    .replace(/[-.](f32|f16|bf16)$/i, '')
  return join(folder, `${stem}-${name}.gguf`)
}

const importanceName = 'imatrix'
const rungPath = (model: string, folder: string, rung: Rung): string =>
  madePath(model, folder, rungName(rung).replace(' ', '-'))

/** The ladder; it includes every type that is trained. */
function rungsToMake({ types, imatrix, train }: Pick<MakeOptions, 'types' | 'imatrix' | 'train'>): Rung[] {
  const importance = imatrix !== 'none'
  const rungs = [...rungsOf(types, importance), ...rungsOf(train, importance)]
  return [...new Map(rungs.map((rung) => [rungName(rung), rung])).values()]
}

/** All files that `makeFiles` may write. */
export function madeFiles({
  model,
  folder,
  types,
  imatrix,
  train,
}: Pick<MakeOptions, 'model' | 'folder' | 'types' | 'imatrix' | 'train'>): Output[] {
  const rungs = rungsToMake({ types, imatrix, train })
  const made = rungs.map((rung) => rungPath(model, folder, rung))
  if (imatrix === 'auto' && rungs.some(({ importance }) => importance))
    made.push(madePath(model, folder, importanceName))
  const trained = train.map((type) => madePath(model, folder, `${type}-QAT`))
  return [
    ...made.map((path) => ({ path, by: 'the file to make', lockedLater: true })),
    ...trained.map((path) => ({ ...keptBeside(path), path, by: 'the file to make', lockedLater: true })),
  ]
}

/** An importance matrix: its file, and the hash of its contents. */
interface Importance {
  readonly path: string
  readonly hash: string
}

/** The importance matrix that is given, or one of the text that training uses. */
async function importanceFile(store: Store, options: MakeOptions): Promise<Importance> {
  const { model, modelHash, imatrix, folder, training, onImportance, onWarning } = options
  if (imatrix !== 'auto') return { path: imatrix, hash: await store.hashOf(imatrix) }
  const path = madePath(model, folder, importanceName)
  const { tokens, seed, selfWritten, general, validation, context } = training
  const inputs = {
    model: modelHash,
    training: { tokens, seed, selfWritten, general, validation, context },
    ...(await computedFrom(options)),
  }
  const known = store.get<{ hash: string }>('imatrix', inputs)
  if (known && (await hashIfThere(store, path)) === known.hash) return { path, hash: known.hash }
  await makeImportance({
    ...{ model, output: path, training, onWarning },
    ...(onImportance && { onProgress: onImportance }),
  })
  const hash = await store.hashOf(path)
  store.put('imatrix', inputs, { hash })
  return { path, hash }
}

async function makePtq(
  store: Store,
  rung: Rung,
  imatrix: Importance | undefined,
  { model, modelHash, folder, versions, onQuantize }: MakeOptions,
): Promise<Entry> {
  const { type, importance } = rung
  const weighted = importance ? imatrix : undefined
  const inputs = { model: modelHash, type, versions, ...(weighted && { imatrix: weighted.hash }) }
  const path = rungPath(model, folder, rung)
  const known = store.get<{ hash: string }>('quantize', inputs)
  const entry = { name: rungName(rung), method: 'ptq', importance, path } as const
  if (known && (await hashIfThere(store, path)) === known.hash) return { ...entry, hash: known.hash }
  onQuantize?.(rungName(rung), 0, 1)
  await quantizeFile(model, path, type, {
    ...(weighted && { imatrix: weighted.path, imatrixName: basename(weighted.path) }),
    onProgress: ({ done, total }) => onQuantize?.(rungName(rung), done, total),
  })
  const hash = await store.hashOf(path)
  if (!known) store.put('quantize', inputs, { hash })
  return { ...entry, hash }
}

/** Everything that a trained file depends on; equal inputs make equal files. */
async function trainingInputs(type: string, options: MakeOptions) {
  const { data: _, ...training } = options.training
  return {
    model: options.modelHash,
    type,
    training,
    memory: memoryBudget(),
    ...(await computedFrom(options)),
  }
}

/** The text, and what the engine's results depend on besides. */
async function computedFrom({ training: { data }, versions }: MakeOptions) {
  const { cpu } = thisMachine()
  return {
    text: data ? contentHash(await readTexts(data)) : null,
    machine: { cpu, cores: threadCount() },
    versions: { ...versions, onnxruntime: onnxruntimeVersion() },
  }
}

async function makeTrained(
  store: Store,
  type: string,
  path: string,
  teacher: TeacherCache,
  options: MakeOptions,
): Promise<Entry> {
  const { model, training, onTrain, onWarning } = options
  const inputs = await trainingInputs(type, options)
  const known = store.get<{ hash: string; report: TrainReport }>('train', inputs)
  const entry = { name: `${type} QAT`, method: 'qat', importance: false, path } as const
  if (known && (await hashIfThere(store, path)) === known.hash)
    return { ...entry, hash: known.hash, training: known.report }
  const report = await train({
    input: model,
    output: path,
    type,
    ...training,
    teacher,
    resume: hasLeftovers(path),
    onProgress: (event) => onTrain?.(type, event),
    ...(onWarning && { onWarning }),
  })
  const hash = await store.hashOf(path)
  store.put('train', inputs, { hash, report })
  return { ...entry, hash, training: report }
}

async function hashIfThere(store: Store, path: string): Promise<string | undefined> {
  try {
    return await store.hashOf(path)
  } catch {
    return undefined // missing or damaged: it is made again
  }
}

/** Files trained by quench, and files made with an importance matrix, are marked in their metadata. */
async function originOf(path: string): Promise<Pick<Entry, 'method' | 'importance'>> {
  const { metadata } = await inspectFile(path)
  return {
    method: 'quench.method' in metadata ? 'qat' : 'ptq',
    importance: 'quantize.imatrix.file' in metadata,
  }
}

/** Base names; duplicates get a number. */
function uniqueNames(paths: readonly string[], others: readonly string[]): string[] {
  const taken = new Set(others)
  return paths.map((path) => {
    const base = basename(path).replace(/\.gguf$/, '')
    let name = base
    for (let i = 2; taken.has(name); i++) name = `${base} (${i})`
    taken.add(name)
    return name
  })
}
