/** Runs models one after another, for evaluations that compare nothing token by token. */

import { checkLoads, LlamaModel, tryEarly } from '../llama/index.js'
import type { ProgressEvent } from '../notices.js'
import { checkNumbers, type OptionNames, threadRange, whole } from '../option-checks.js'
import { type ComparableFile, openComparable } from './files.js'
import { needModel } from './references/index.js'

/** How models are run. */
export interface ModelOptions {
  /**
   * Types of the KV cache, e.g. `q8_0`, or `q8_0/f16` for keys / values: every file is run with each of them, references with
   * f16. Default f16 alone.
   */
  readonly kvTypes?: readonly string[]
  /** Layers to offload to a GPU, -1 for all. Default 0. */
  readonly gpuLayers?: number
  /** Default: that of libllama's contexts. */
  readonly threads?: number
  /** Called with the tokens run so far, over all files. */
  readonly onProgress?: (event: ProgressEvent) => void
  readonly signal?: AbortSignal
}

/** The names of `ModelOptions`. */
export const modelOptions = {
  kvTypes: true,
  gpuLayers: true,
  threads: true,
  onProgress: true,
  signal: true,
} as const satisfies OptionNames<ModelOptions>

/** A file and the settings it is run with. */
export interface RunFile {
  readonly path: string
  readonly type: string
  readonly bytes: number
  readonly bitsPerWeight: number
  readonly kvType: string
}

export interface ModelsOptions extends ModelOptions {
  /** The model that the others are compared with, if any. It is run with f16 keys and values. */
  readonly reference?: string
  readonly files: readonly string[]
}

/** Reports the progress of several models as a single one. */
type Report = (done: number, total: number) => void

/** Calls `work` for the reference, then for every file with every cache type. @param stage names it in progress events */
export async function forEachModel<T>(
  options: ModelsOptions,
  stage: string,
  work: (model: LlamaModel, file: RunFile, report: Report) => Promise<T>,
): Promise<{ reference: T | undefined; files: T[] }> {
  checkNumbers(options, { threads: threadRange, gpuLayers: whole(-1) })
  const { reference, files, kvTypes = ['f16'], gpuLayers = 0, onProgress, signal } = options
  if (reference !== undefined) await needModel(reference)
  const paths = [...(reference === undefined ? [] : [reference]), ...files]
  tryEarly(paths, 'run')
  const facts = await openComparable(paths)
  for (const path of paths) await checkLoads(path, 'run') // before any work on the others
  const typesOf = (i: number): readonly string[] => (reference !== undefined && i === 0 ? ['f16'] : kvTypes)
  const runs = facts.reduce((sum, _, i) => sum + typesOf(i).length, 0)
  const results: T[] = []
  for (const [i, fact] of facts.entries()) {
    const model = await LlamaModel.load(fact.path, { gpuLayers })
    try {
      for (const kvType of typesOf(i)) {
        signal?.throwIfAborted()
        const before = results.length
        const report: Report = (done, total) =>
          onProgress?.({ stage, done: before * total + done, total: runs * total })
        results.push(await work(model, runFile(fact, kvType), report))
      }
    } finally {
      model.dispose()
    }
  }
  return reference === undefined
    ? { reference: undefined, files: results }
    : { reference: results[0], files: results.slice(1) }
}

function runFile({ path, type, bytes, bitsPerWeight }: ComparableFile, kvType: string): RunFile {
  return { path, type, bytes, bitsPerWeight, kvType }
}

/** Enables flash attention for cache types that need it: llama.cpp quantizes values only with it. */
export function cacheOptions(kvType: string): { kvType: string; flashAttention?: 'on' } {
  return /^(f32|f16|bf16)(\/(f32|f16|bf16))?$/.test(kvType) ? { kvType } : { kvType, flashAttention: 'on' }
}
