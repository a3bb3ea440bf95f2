/**
 * Measures the files of a comparison by their contents: stored measurements are not repeated, and every measurement is stored
 * as soon as it is complete.
 */
import { stat } from 'node:fs/promises'
import { freemem } from 'node:os'
import type { Document } from '../data/texts.js'
import { FileError, QuenchError } from '../errors.js'
import { type Evaluation, evaluateFiles, type FileEvaluation, perplexityWarnings } from '../evaluate/index.js'
import type { Failure } from '../failures.js'
import { contentHash } from '../hashes.js'
import { type Round, roundTokens, runRound, type SpeedTest, thisMachine } from '../speed/index.js'
import { type Continuation, type Prompt, writeOn } from './continuations.js'
import type { Store } from './store.js'
import { type TensorError, tensorErrors } from './tensor-errors.js'

/** A file with its name and contents. */
export interface Measurable {
  readonly path: string
  readonly hash: string
}

/** How models are run. Omitted fields have llama.cpp's defaults, in the keys of measurements too. */
export interface Running {
  readonly threads?: number
  readonly gpuLayers?: number
  readonly kvType?: string
}

type Stage = 'evaluate' | 'bench' | 'tensors' | 'write'
type Progress = (done: number, total: number) => void
type Versions = Readonly<Record<string, string>>

/** All measurements of a file of a comparison; the reference has all but an evaluation. */
export interface Measured<File extends Measurable> {
  readonly file: File
  readonly evaluation: KeptEvaluation
  /** Rounds of the speed tests; empty if there were none. */
  readonly rounds: readonly Round[]
  readonly tensorErrors: readonly TensorError[]
  readonly continuations: readonly Continuation[]
}

export interface MeasureOptions {
  readonly documents: readonly Document[]
  readonly context: number
  readonly maxTokens?: number
  readonly tests: readonly SpeedTest[]
  readonly repetitions: number
  /** Files that have already failed. */
  readonly failures: readonly Failure[]
  readonly prompts: () => Promise<readonly Prompt[]>
  /** Tokens per continuation. */
  readonly length: number
  readonly running: Running
  readonly versions: Versions
  readonly onProgress?: (stage: Stage, done: number, total: number) => void
}

/**
 * Measures files against their reference. Files that cannot be evaluated are added to `failures` and skipped.
 * @throws QuenchError if none can be evaluated
 */
export async function measureAll<File extends Measurable>(
  store: Store,
  reference: Measurable,
  files: readonly File[],
  options: MeasureOptions,
): Promise<{
  reference: Omit<Measured<Measurable>, 'evaluation' | 'tensorErrors'>
  files: Measured<File>[]
  prompts: readonly Prompt[]
  failures: Failure[]
}> {
  const { running, versions, onProgress } = options
  const shared = { versions, running }
  const progress =
    (stage: Stage): Progress =>
    (done, total) =>
      onProgress?.(stage, done, total)
  const { evaluations, failures: unusable } = await evaluateAll(store, files, {
    ...{ ...options, ...shared },
    reference,
    onProgress: progress('evaluate'),
  })
  const failures = [...options.failures, ...unusable]
  const usable = files.filter(({ hash }) => evaluations.has(hash))
  if (usable.length === 0) throw new QuenchError(failures.map(({ problem }) => problem).join('; '))
  const all = [reference, ...usable]
  const { tests, repetitions, length } = options
  const rounds = await benchAll(store, all, { ...shared, tests, repetitions, onProgress: progress('bench') })
  const errors = await tensorErrorsOfAll(store, reference, usable, versions, progress('tensors'))
  const prompts = await options.prompts()
  const written = await writeAll(store, all, prompts, { ...shared, length, onProgress: progress('write') })
  const known = <File extends Measurable>(file: File) => ({
    file,
    rounds: rounds.get(file.hash) ?? [],
    continuations: written.get(file.hash) ?? [],
  })
  return {
    reference: known(reference),
    files: usable.map((file) => ({
      ...known(file),
      evaluation: evaluations.get(file.hash) as KeptEvaluation,
      tensorErrors: errors.get(file.hash) ?? [],
    })),
    prompts,
    failures,
  }
}

/** The stored part of an evaluation: everything but the file's path. */
export interface KeptEvaluation {
  readonly file: Omit<FileEvaluation, 'path'>
  readonly reference: Omit<Evaluation['reference'], 'path'>
  readonly windows: number
  readonly tokens: number
  readonly warnings: readonly string[]
}

interface EvaluateAllOptions {
  readonly reference: Measurable
  readonly documents: readonly Document[]
  readonly context: number
  readonly maxTokens?: number
  readonly running: Running
  readonly versions: Versions
  readonly onProgress?: Progress
}

/** Files evaluated in one run with the reference: few enough that an interruption loses little. */
const sideBySide = 4

/** Evaluations by hash. Files that cannot be evaluated are added to `failures` and skipped. */
export async function evaluateAll(
  store: Store,
  files: readonly Measurable[],
  options: EvaluateAllOptions,
): Promise<{ evaluations: Map<string, KeptEvaluation>; failures: Failure[] }> {
  const { reference, documents, context, maxTokens, running, versions, onProgress } = options
  const { kvType, ...where } = running
  const text = contentHash(documents)
  const inputs = (hash: string) => ({
    reference: reference.hash,
    file: hash,
    text,
    context,
    maxTokens: maxTokens ?? null,
    ...computedOn(running),
    versions,
  })
  const evaluations = new Map<string, KeptEvaluation>()
  const failures: Failure[] = []
  let missing: Measurable[] = []
  for (const file of files) {
    const known = store.get<KeptEvaluation>('evaluate', inputs(file.hash))
    if (known) evaluations.set(file.hash, known)
    else if (!missing.some(({ hash }) => hash === file.hash)) missing.push(file)
  }
  const all = missing.length
  while (missing.length > 0) {
    const group = await nextGroup(missing)
    const before = all - missing.length
    try {
      const { files: measured, ...result } = await evaluateFiles({
        reference: reference.path,
        files: group.map(({ path }) => path),
        text: documents,
        context,
        ...(maxTokens !== undefined && { maxTokens }),
        ...where,
        ...(kvType !== undefined && { kvTypes: [kvType] }),
        onProgress: ({ done, total }) => onProgress?.(before + (group.length * done) / total, all),
      })
      // Warnings about single files are computed again for the files of each comparison.
      const ofFiles = perplexityWarnings({ ...result, files: measured })
      const warnings = result.warnings.filter((warning) => !ofFiles.includes(warning))
      const kept = measured.map(({ path: _, ...file }): KeptEvaluation => {
        const { path: __, ...base } = result.reference
        const { windows, tokens } = result
        return { file, reference: base, windows, tokens, warnings }
      })
      store.putAll(kept.map((value, i) => ({ kind: 'evaluate', inputs: inputs(group[i].hash), value })))
      for (const { hash } of group)
        evaluations.set(hash, store.get<KeptEvaluation>('evaluate', inputs(hash)) as KeptEvaluation)
      missing = missing.slice(group.length)
    } catch (error) {
      const bad = error instanceof FileError ? group.find(({ path }) => path === error.path) : undefined
      if (!bad || !(error instanceof FileError)) throw error
      failures.push({ path: bad.path, problem: error.message })
      missing = missing.filter((file) => file !== bad)
    }
  }
  return { evaluations, failures }
}

/**
 * Interleaved rounds of all files, A B A B, by hash. A round is stored as one measurement of all its files: ratios are taken
 * within a round, and conditions differ between days. One more file therefore means that all files are measured again.
 */
export async function benchAll(
  store: Store,
  files: readonly Measurable[],
  options: {
    readonly tests: readonly SpeedTest[]
    readonly repetitions: number
    readonly running: Running
    readonly versions: Versions
    readonly onProgress?: Progress
  },
): Promise<Map<string, Round[]>> {
  const { tests, repetitions, running, versions, onProgress } = options
  const distinct = new Map(files.map(({ hash, path }) => [hash, path]))
  const hashes = [...distinct.keys()]
  const rounds = new Map(hashes.map((hash) => [hash, [] as Round[]]))
  const total = distinct.size * repetitions * roundTokens(tests)
  if (total > 0) onProgress?.(0, total)
  for (let turn = 0; turn < repetitions; turn++) {
    let done = turn * distinct.size * roundTokens(tests)
    const inputs = { files: hashes.toSorted(), tests, turn, ...computedOn(running), versions }
    const measured = await store.once('bench', inputs, async () => {
      const ofTurn: Record<string, Round> = {}
      for (const [hash, path] of distinct) {
        ofTurn[hash] = await runRound(path, { tests, ...running })
        done += roundTokens(tests)
        onProgress?.(done, total)
      }
      return ofTurn
    })
    for (const hash of hashes) rounds.get(hash)?.push(measured[hash])
  }
  return rounds
}

/** Logits differ slightly with the processor's kernels and the number of threads, which by default follows from the cores. */
function computedOn(running: Running) {
  const { cpu, cores } = thisMachine()
  return { ...running, threads: running.threads ?? null, machine: { cpu, cores } }
}

/** Relative errors of tensors, by hash; undefined for a file whose tensors do not match the reference's. */
async function tensorErrorsOfAll(
  store: Store,
  reference: Measurable,
  files: readonly Measurable[],
  versions: Versions,
  onProgress?: Progress,
): Promise<Map<string, TensorError[]>> {
  const errors = new Map<string, TensorError[]>()
  onProgress?.(0, files.length)
  for (const [i, { path, hash }] of files.entries()) {
    const inputs = { reference: reference.hash, file: hash, versions }
    errors.set(hash, await store.once('tensors', inputs, () => tensorErrors(reference.path, path)))
    onProgress?.(i + 1, files.length)
  }
  return errors
}

/** Continuations of the prompts, by hash. */
export async function writeAll(
  store: Store,
  files: readonly Measurable[],
  prompts: readonly Prompt[],
  options: {
    readonly length: number
    readonly running: Running
    readonly versions: Versions
    readonly onProgress?: Progress
  },
): Promise<Map<string, Continuation[]>> {
  const { length, running, versions, onProgress } = options
  const written = new Map<string, Continuation[]>()
  onProgress?.(0, files.length)
  for (const [i, { path, hash }] of files.entries()) {
    const tokens = prompts.map((prompt) => prompt.tokens)
    const inputs = { file: hash, prompts: tokens, length, ...computedOn(running), versions }
    written.set(hash, await store.once('write', inputs, () => writeOn(path, prompts, length, running)))
    onProgress?.(i + 1, files.length)
  }
  return written
}

/** The next files to evaluate in one run: as many as fit in half of the free memory, including llama.cpp's repacked copies. */
async function nextGroup(files: readonly Measurable[]): Promise<Measurable[]> {
  const room = freemem() / 2
  let bytes = 0
  const group: Measurable[] = []
  for (const file of files.slice(0, sideBySide)) {
    bytes +=
      2 *
      (await stat(file.path).then(
        ({ size }) => size,
        () => 0,
      ))
    if (group.length > 0 && bytes > room) break
    group.push(file)
  }
  return group
}
