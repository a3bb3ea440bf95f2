/** Evaluations of the files of a comparison by their contents: stored ones are not repeated. */
import { stat } from 'node:fs/promises'
import { freemem } from 'node:os'
import type { Document } from '../data/texts.js'
import { FileError } from '../errors.js'
import { type Evaluation, evaluateFiles, type FileEvaluation, perplexityWarnings } from '../evaluate/index.js'
import { sideBySide } from '../evaluate/side-by-side.js'
import type { Failure } from '../failures.js'
import { contentHash } from '../hashes.js'
import { thisMachine } from '../speed/index.js'
import type { Store } from './store.js'

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

export type Progress = (done: number, total: number) => void
export type Versions = Readonly<Record<string, string>>

/** The stored part of an evaluation: everything but the file's path. */
export interface KeptEvaluation {
  readonly file: Omit<FileEvaluation, 'path'>
  readonly reference: Omit<Evaluation['reference'], 'path'>
  readonly original?: NonNullable<Evaluation['original']>
  readonly windows: number
  readonly tokens: number
  readonly warnings: readonly string[]
}

interface EvaluateAllOptions {
  readonly reference: Measurable
  /** The model before training, as a second reference. */
  readonly original?: Measurable
  readonly documents: readonly Document[]
  readonly context: number
  readonly maxTokens?: number
  readonly running: Running
  readonly versions: Versions
  readonly onProgress?: Progress
}

/** Evaluations by hash. Files that cannot be evaluated are added to `failures` and skipped. */
export async function evaluateAll(
  store: Store,
  files: readonly Measurable[],
  options: EvaluateAllOptions,
): Promise<{ evaluations: Map<string, KeptEvaluation>; failures: Failure[] }> {
  const { reference, original, documents, context, maxTokens, running, versions, onProgress } = options
  const { kvType, ...where } = running
  const text = contentHash(documents)
  const inputs = (hash: string) => ({
    reference: reference.hash,
    ...(original && { original: original.hash }),
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
        ...(original && { original: original.path }),
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
        const { windows, tokens, original } = result
        return { file, reference: base, ...(original && { original }), windows, tokens, warnings }
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

/** Logits differ slightly with the processor's kernels and the number of threads, which by default follows from the cores. */
export function computedOn(running: Running) {
  const { cpu, cores } = thisMachine()
  return { ...running, threads: running.threads ?? null, machine: { cpu, cores } }
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
