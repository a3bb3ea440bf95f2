/** The result of an evaluation: the metrics of each file, computed from the sums. */
import { setImmediate } from 'node:timers/promises'
import type { Divergence, Likelihood, WindowSums } from './divergence-statistics.js'
import type { ComparableFile } from './files.js'
import type { SavedReference } from './references/index.js'
import type { RunResult } from './run.js'
import type { Estimate } from './statistics.js'
import type { Windows } from './windows.js'

/** A file and its size. */
export interface EvaluatedFile {
  readonly path: string
  /** Recipe, e.g. `Q4_K_M`. */
  readonly type: string
  /** Size on disk. */
  readonly bytes: number
  /** Bits of tensor data per weight. */
  readonly bitsPerWeight: number
  readonly perplexity: Estimate
  readonly bitsPerByte: Estimate
}

export interface FileEvaluation extends EvaluatedFile, Divergence {
  /** Type of the KV cache. */
  readonly kvType: string
  /**
   * Divergence from the original: the loss of the whole method. The divergence from the reference is the loss of the
   * conversion.
   */
  readonly original?: Divergence
  readonly windowSums: WindowSums
}

/** The result of `evaluateFiles`. Standard errors are over windows. */
export interface Evaluation {
  readonly context: number
  readonly windows: number
  /** Scored tokens. */
  readonly tokens: number
  /** Size of the vocabulary: the perplexity of a uniform guess. */
  readonly vocabulary: number
  readonly reference: EvaluatedFile & {
    readonly windowSums: Pick<WindowSums, 'nll' | 'tokens'>
    /** Whether the predictions come from a saved reference. */
    readonly saved: boolean
    /** Divergence of the reference from the original: the change made by training alone. */
    readonly original?: Divergence
  }
  readonly original?: EvaluatedFile
  /** In the order given; with several `kvTypes`, one result per type for each file. */
  readonly files: readonly FileEvaluation[]
  /** Warnings about the figures. */
  readonly warnings: readonly string[]
}

/** The measurements that a report is computed from. */
interface Measured {
  readonly facts: readonly ComparableFile[]
  readonly saved: SavedReference | undefined
  /** Number of references among the facts. */
  readonly live: number
  readonly kvTypes: readonly string[]
  readonly context: number
  readonly windows: Windows
  readonly result: RunResult
  readonly trainContext: number
}

export async function report(measured: Measured): Promise<Evaluation> {
  const { facts, saved, live, kvTypes, context, windows, result } = measured
  const reference = saved ? { ...saved.header.model, path: saved.path } : facts[0]
  const [base, originalBase] = result.bases
  const files: FileEvaluation[] = []
  for (const [i, { own, against }] of result.files.entries()) {
    await setImmediate() // the bootstrap takes about 10 ms each
    const [fromReference, fromOriginal] = against
    files.push({
      ...evaluated(facts[live + Math.floor(i / kvTypes.length)], own),
      kvType: kvTypes[i % kvTypes.length],
      ...fromReference.divergence(),
      ...(fromOriginal && { original: fromOriginal.divergence() }),
      windowSums: fromReference.windowSums(),
    })
  }
  const evaluation = {
    context,
    windows: windows.count,
    tokens: windows.scored,
    vocabulary: facts[0].vocabulary,
    reference: {
      ...evaluated(reference, base),
      saved: saved !== undefined,
      windowSums: { nll: base.nll, tokens: base.tokens },
      ...(result.referenceAgainst && { original: result.referenceAgainst.divergence() }),
    },
    ...(originalBase && { original: evaluated(facts[1], originalBase) }),
    files,
  }
  return {
    ...evaluation,
    warnings: [...warningsOf(reference, measured), ...perplexityWarnings(evaluation)],
  }
}

/** Limit of file names in a warning. */
const namesShown = 3

/** A warning about perplexities above that of a uniform guess, if there are any. */
export function perplexityWarnings({
  reference,
  original,
  files,
  vocabulary,
}: {
  readonly reference: Pick<EvaluatedFile, 'path' | 'perplexity'>
  readonly original?: Pick<EvaluatedFile, 'path' | 'perplexity'>
  readonly files: readonly Pick<EvaluatedFile, 'path' | 'perplexity'>[]
  readonly vocabulary: number
}): string[] {
  const all = [reference, ...(original ? [original] : []), ...files]
  const worse = new Map(
    all.flatMap(({ path, perplexity: { mean } }) => (mean > vocabulary ? [[path, mean] as const] : [])),
  )
  if (worse.size === 0) return []
  const named = [...worse].slice(0, namesShown).map(([path, mean]) => `${path} (${Math.round(mean)})`)
  const others = worse.size > namesShown ? ` and ${worse.size - namesShown} more` : ''
  return [
    `perplexity is above ${vocabulary}, the size of the vocabulary, and so worse than a uniform guess, for ${named.join(', ')}${others}: the text or the chat template does not suit the model, or its weights are damaged`,
  ]
}

/** A file with the metrics that need no base. */
export function evaluated(
  { path, type, bytes, bitsPerWeight }: Pick<EvaluatedFile, 'path' | 'type' | 'bytes' | 'bitsPerWeight'>,
  own: Likelihood,
): EvaluatedFile {
  return { path, type, bytes, bitsPerWeight, perplexity: own.perplexity(), bitsPerByte: own.bitsPerByte() }
}

function warningsOf(
  reference: { readonly path: string; readonly type: string; readonly quantized: boolean },
  { facts, live, context, trainContext }: Measured,
): string[] {
  const warnings: string[] = []
  for (const base of live === 2 ? [reference, facts[1]] : [reference])
    if (base.quantized)
      warnings.push(
        `${base.path} is itself quantized (${base.type}), so divergences from it are not those from the original model`,
      )
  if (context > trainContext)
    warnings.push(
      `a context of ${context} is longer than the ${trainContext} tokens that ${reference.path} was trained with`,
    )
  return warnings
}
