/**
 * Measures the files of a comparison by their contents: stored measurements are not repeated, and every measurement is stored
 * as soon as it is complete.
 */
import type { Document } from '../data/texts.js'
import { QuenchError } from '../errors.js'
import type { Failure } from '../failures.js'
import { type Round, roundTokens, runRound, type SpeedTest } from '../speed/index.js'
import { type Continuation, type Prompt, writeOn } from './continuations.js'
import {
  computedOn,
  evaluateAll,
  type KeptEvaluation,
  type Measurable,
  type Progress,
  type Running,
  type Versions,
} from './evaluations.js'
import type { Store } from './store.js'
import { type TensorError, tensorErrors } from './tensor-errors.js'

type Stage = 'evaluate' | 'bench' | 'tensors' | 'write'

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
  /** The model before training, as a second reference. */
  readonly original?: Measurable
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
