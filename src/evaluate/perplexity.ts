/** Perplexity alone, without a reference: files run one after another on the windows that `evaluateFiles` runs. */
import { textWarnings } from '../data/texts.js'
import { checkNumbers, checkOptionNames, whole } from '../option-checks.js'
import type { Likelihood } from './divergence-statistics.js'
import { checkText } from './evaluate.js'
import { type EvaluatedFile, evaluated, perplexityWarnings } from './evaluation.js'
import { forEachModel, type ModelOptions, modelOptions, type RunFile } from './models.js'
import { run } from './run.js'
import { type Estimate, exponential, ratio } from './statistics.js'
import { byteCounter, windowContext } from './window-context.js'
import { cutEvaluation, documentsOf, type EvaluationText, type Windows } from './windows.js'

export interface PerplexityOptions extends ModelOptions {
  readonly files: readonly string[]
  /** Held-out text, or its tokens. */
  readonly text: EvaluationText
  /** Tokens per window, at least 8. Default 512. */
  readonly context?: number
  /** Limit of tokens of the text. Default: all. */
  readonly maxTokens?: number
}

export interface PerplexityFile extends EvaluatedFile {
  /** Type of the KV cache. */
  readonly kvType: string
  /** Mean negative log-likelihood, nats per token: the logarithm of the perplexity. */
  readonly loss: Estimate
  /** Ratio of the perplexity to the first result's, on the same tokens; absent for the first. */
  readonly perplexityRatio?: Estimate
  /** Tokens run and scored per second, without loading the file. */
  readonly tokensPerSecond: number
  /** Sums over the scored tokens of each window, in text order: tokens, and negative log-likelihood in nats. */
  readonly windowSums: { readonly tokens: readonly number[]; readonly nll: readonly number[] }
}

/** The result of `evaluatePerplexity`. Standard errors are over windows. */
export interface PerplexityEvaluation {
  readonly context: number
  readonly windows: number
  /** Scored tokens. */
  readonly tokens: number
  /** Size of the vocabulary: the perplexity of a uniform guess. */
  readonly vocabulary: number
  /** In the order given; with several `kvTypes`, one result per type for each file. */
  readonly files: readonly PerplexityFile[]
  /** Warnings about the figures. */
  readonly warnings: readonly string[]
}

/** @throws FileError for a file that cannot be loaded or compared, UsageError for a text that is too short */
export async function evaluatePerplexity(options: PerplexityOptions): Promise<PerplexityEvaluation> {
  const { text, context = 512, maxTokens, threads, signal, ...others } = options
  checkOptionNames(options, { ...modelOptions, files: true, text: true, context: true, maxTokens: true })
  checkNumbers(options, { maxTokens: whole(1) })
  checkText(text)
  let windows: Windows | undefined
  let vocabulary = 0
  const warnings: string[] = []
  const given = { ...others, ...(threads !== undefined && { threads }), ...(signal && { signal }) }
  const { files } = await forEachModel(given, 'evaluate', async (model, file, report) => {
    windows ??= await cutEvaluation(model, text, context, maxTokens)
    if (vocabulary === 0 && context > model.trainContext)
      warnings.push(
        `a context of ${context} is longer than the ${model.trainContext} tokens that ${file.path} was trained with`,
      )
    vocabulary = model.vocabSize
    using running = await windowContext(model, windows, file.kvType, threads)
    const start = performance.now()
    const { bases } = await run({
      bases: [running],
      files: [],
      windows,
      bytesOf: byteCounter(model),
      onProgress: ({ done, total }) => report(done, total),
      ...(threads !== undefined && { threads }),
      ...(signal && { signal }),
    })
    return measured(file, bases[0], windows.run / ((performance.now() - start) / 1000))
  })
  const [first, ...rest] = files
  const compared = [first, ...rest.map((file) => against(first, file))]
  const { count, scored } = windows as Windows // there is at least one file
  return {
    context,
    windows: count,
    tokens: scored,
    vocabulary,
    files: compared,
    warnings: [
      ...textWarnings(documentsOf(text)),
      ...warnings,
      ...perplexityWarnings({ reference: first, files: rest, vocabulary }),
    ],
  }
}

function measured(file: RunFile, own: Likelihood, tokensPerSecond: number): PerplexityFile {
  const { tokens, nll } = own
  return {
    ...evaluated(file, own),
    kvType: file.kvType,
    loss: ratio(nll, tokens),
    tokensPerSecond,
    windowSums: { tokens, nll },
  }
}

function against(first: PerplexityFile, file: PerplexityFile): PerplexityFile {
  const { tokens, nll } = file.windowSums
  const difference = nll.map((each, w) => each - first.windowSums.nll[w])
  return { ...file, perplexityRatio: exponential(ratio(difference, tokens)) }
}
