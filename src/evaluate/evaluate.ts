/**
 * Perplexity, KL divergence and top-1 agreement of GGUF files against a reference, as libllama runs them on the CPU.
 *
 * All files run side by side, window by window: the reference's logits stay in memory only until every file has been
 * compared with them, so nothing is written to disk (llama-perplexity writes 16-bit logits, tens of gigabytes, and its
 * divergences have a floor of about 5e-4 nats). A text twice as long takes 4 bytes per scored token and file more.
 */
import { FileError } from '../errors.js'
import { LlamaContext, LlamaModel } from '../llama/index.js'
import { type RowScore, scoreReference, scoreRow } from './divergence.js'
import { type ComparableFile, openComparable } from './files.js'
import type { Estimate } from './statistics.js'
import { type KldSummary, Tally, type WindowSums } from './tally.js'
import { cutEvaluation, type EvaluationText, type Windows } from './windows.js'

export interface EvaluateOptions {
  /** The full-precision file that the others are compared with. */
  readonly reference: string
  readonly files: readonly string[]
  /** Held-out text, or its tokens. */
  readonly text: EvaluationText
  /** Tokens of a window, at least 8. Default 512. */
  readonly context?: number
  /** Most tokens of the text to use. Default: all. */
  readonly maxTokens?: number
  /** Default: as libllama's contexts choose. */
  readonly threads?: number
  /** Tokens run, of all files together. */
  readonly onProgress?: (tokens: number, total: number) => void
  readonly signal?: AbortSignal
}

/** A file and its size. */
export interface EvaluatedFile {
  readonly path: string
  /** Recipe, e.g. `Q4_K_M`. */
  readonly type: string
  /** Size on disk. */
  readonly bytes: number
  /** Bytes of tensors * 8 / weights. */
  readonly bitsPerWeight: number
  readonly perplexity: Estimate
}

export interface FileEvaluation extends EvaluatedFile {
  readonly kld: KldSummary
  /** Share of tokens whose most probable one is the reference's. */
  readonly top1: Estimate
  readonly windowSums: WindowSums
}

/** What `evaluateFiles` gives. Standard errors are those of the mean of window means. */
export interface Evaluation {
  readonly context: number
  readonly windows: number
  /** Scored tokens. */
  readonly tokens: number
  readonly reference: EvaluatedFile & { readonly windowSums: Pick<WindowSums, 'nll'> }
  /** In the order given. */
  readonly files: readonly FileEvaluation[]
  /** Sentences on what makes the figures doubtful. */
  readonly warnings: readonly string[]
}

/** Bytes of logits that a file may hold at once; windows of large vocabularies are scored in slices. */
const maxLogitBytes = 2 ** 26
/** Tokens that libllama computes at once: shorter windows run side by side to fill this. */
const microBatch = 512

/** @throws FileError for a file that cannot be loaded or compared, UsageError for a text that is too short */
export async function evaluateFiles(options: EvaluateOptions): Promise<Evaluation> {
  const { reference, files, text, context = 512, maxTokens, threads } = options
  const facts = await openComparable(reference, files)
  const models: LlamaModel[] = []
  const contexts: LlamaContext[] = []
  try {
    models.push(await LlamaModel.load(reference))
    const cut = cutEvaluation(models[0], text, context, maxTokens)
    for (const file of files) models.push(await LlamaModel.load(file))
    const sequences = Math.min(Math.max(1, Math.floor(microBatch / context)), cut.windows.length)
    for (const model of models) {
      contexts.push(
        await LlamaContext.create(model, {
          contextSize: context,
          sequences,
          batchSize: sequences * context,
          microBatchSize: microBatch,
          ...(threads !== undefined && { threads }),
        }),
      )
    }
    const tallies = models.map(() => new Tally(cut.windows.length, cut.scored))
    await run(contexts, cut, tallies, options)
    return report(facts, context, cut, tallies, warningsOf(facts, models, context))
  } finally {
    for (const each of [...contexts, ...models]) each.dispose()
  }
}

/** Runs all windows through all contexts, the first of which is the reference's. */
async function run(
  contexts: readonly LlamaContext[],
  { windows, first, scored }: Windows,
  tallies: readonly Tally[],
  { onProgress, signal }: Pick<EvaluateOptions, 'onProgress' | 'signal'>,
): Promise<void> {
  const { sequences, model } = contexts[0]
  const last = first + scored
  const slice = Math.max(1, Math.floor(maxLogitBytes / (4 * model.vocabSize * sequences)))
  const scorer = new Scorer(contexts, tallies)
  const total = windows.length * last * contexts.length
  let done = 0
  for (let w = 0; w < windows.length; w += sequences) {
    const group = windows.slice(w, w + sequences)
    for (const context of contexts) context.clear()
    for (let start = 0; start < last; ) {
      const end = Math.min(last, Math.max(start, first) + slice)
      const batch = batchOf(group, start, end, first)
      for (const context of contexts) {
        signal?.throwIfAborted()
        await context.decode(batch.tokens, batch)
        done += batch.tokens.length
        onProgress?.(done, total)
      }
      scorer.score(group, w, Math.max(start, first), end, first)
      start = end
    }
  }
}

/** Positions `start` to `end` of every window, each a sequence; those from `first` on give logits. */
function batchOf(group: readonly Int32Array[], start: number, end: number, first: number) {
  const length = end - start
  const of = (value: (sequence: number, position: number) => number) =>
    Int32Array.from({ length: group.length * length }, (_, i) =>
      value(Math.floor(i / length), start + (i % length)),
    )
  return {
    tokens: of((sequence, position) => group[sequence][position]),
    positions: of((_, position) => position),
    sequenceIds: of((sequence) => sequence),
    logits: of((_, position) => (position >= first ? 1 : 0)),
  }
}

/** Compares the logits of the last decode of every context with those of the first. */
class Scorer {
  private readonly probabilities: Float64Array
  private readonly reference: RowScore = { logSumExp: 0, top: 0, kld: 0 }
  private readonly own: RowScore = { logSumExp: 0, top: 0, kld: 0 }

  constructor(
    private readonly contexts: readonly LlamaContext[],
    private readonly tallies: readonly Tally[],
  ) {
    this.probabilities = new Float64Array(contexts[0].model.vocabSize)
  }

  /** @param w index of the group's first window. Positions `start` to `end` gave logits, `first` is the first scored. */
  score(group: readonly Int32Array[], w: number, start: number, end: number, first: number): void {
    const logits = this.contexts.map((context) => context.logits())
    let offset = 0
    for (const [g, window] of group.entries()) {
      for (let position = start; position < end; position++) {
        this.scoreToken(logits, offset, window[position + 1], w + g, position - first)
        offset += this.probabilities.length
      }
    }
  }

  private scoreToken(
    logits: readonly Float32Array[],
    offset: number,
    target: number,
    window: number,
    i: number,
  ) {
    const { reference, own, probabilities } = this
    scoreReference(logits[0], offset, probabilities, reference)
    for (let f = 0; f < logits.length; f++) {
      const score = f === 0 ? reference : own
      if (f > 0) scoreRow(logits[0], logits[f], offset, probabilities, reference.logSumExp, own)
      const nll = score.logSumExp - logits[f][offset + target]
      if (!Number.isFinite(nll) || !Number.isFinite(score.kld))
        throw new FileError(this.contexts[f].model.path, 'it gives predictions that are not finite numbers')
      this.tallies[f].add(window, i, nll, score.kld, score.top === reference.top)
    }
  }
}

function report(
  facts: readonly ComparableFile[],
  context: number,
  { windows, scored }: Windows,
  tallies: readonly Tally[],
  warnings: readonly string[],
): Evaluation {
  const evaluated = ({ path, type, bytes, bitsPerWeight }: ComparableFile, i: number): EvaluatedFile => ({
    path,
    type,
    bytes,
    bitsPerWeight,
    perplexity: tallies[i].perplexity(),
  })
  return {
    context,
    windows: windows.length,
    tokens: windows.length * scored,
    reference: { ...evaluated(facts[0], 0), windowSums: { nll: tallies[0].windowSums.nll } },
    files: facts.slice(1).map((file, i) => ({
      ...evaluated(file, i + 1),
      kld: tallies[i + 1].kldSummary(),
      top1: tallies[i + 1].top1Share(),
      windowSums: tallies[i + 1].windowSums,
    })),
    warnings,
  }
}

function warningsOf(
  [reference]: readonly ComparableFile[],
  [model]: readonly LlamaModel[],
  context: number,
): string[] {
  const warnings: string[] = []
  if (reference.quantized)
    warnings.push(
      `${reference.path} is itself quantized (${reference.type}), so divergences from it are not those from the original model`,
    )
  if (context > model.trainContext)
    warnings.push(
      `a context of ${context} is longer than the ${model.trainContext} tokens that ${reference.path} was trained with`,
    )
  return warnings
}
