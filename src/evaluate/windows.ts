/**
 * The windows that llama-perplexity evaluates: all tokens of the text cut into pieces of `context` tokens, without
 * overlap, each begun with BOS in place of its first token where the model wants one. The second half of a window is
 * scored: positions `context / 2` to `context - 2` predict the token after them, with at least half a window to look
 * back on.
 */
import { UsageError } from '../errors.js'
import type { LlamaModel } from '../llama/index.js'

/** What is evaluated: texts, or tokens of the reference's vocabulary. */
export type EvaluationText = string | readonly string[] | Int32Array

export interface Windows {
  /** Tokens of each window. */
  readonly windows: readonly Int32Array[]
  /** First scored position. */
  readonly first: number
  /** Scored positions per window. */
  readonly scored: number
}

const leastContext = 8

/** Cuts the text. @throws UsageError for a text, or a limit of `maxTokens`, of less than two windows */
export function cutEvaluation(
  model: LlamaModel,
  text: EvaluationText,
  context: number,
  maxTokens = Number.POSITIVE_INFINITY,
): Windows {
  if (!Number.isInteger(context) || context < leastContext)
    throw new UsageError(`--context is ${context}; it must be a whole number from ${leastContext}`)
  if (maxTokens < 2 * context)
    throw new UsageError(
      `--tokens is ${maxTokens}; a context of ${context} needs at least ${2 * context}, or give a smaller --context`,
    )
  const tokens = tokensOf(model, text)
  if (tokens.length < 2 * context)
    throw new UsageError(
      `the text has only ${tokens.length} tokens, and a context of ${context} needs at least ${2 * context}; give more text or a smaller --context`,
    )
  const count = Math.floor(Math.min(tokens.length, maxTokens) / context)
  const windows = Array.from({ length: count }, (_, i) => tokens.slice(i * context, (i + 1) * context))
  if (model.addBos && model.bos !== undefined) for (const window of windows) window[0] = model.bos
  const first = Math.floor(context / 2)
  return { windows, first, scored: context - 1 - first }
}

/** Texts one after another, each begun as the model wants a text begun. */
function tokensOf(model: LlamaModel, text: EvaluationText): Int32Array {
  if (text instanceof Int32Array) return text
  const parts = (typeof text === 'string' ? [text] : text).map((t) => model.tokenize(t, { addSpecial: true }))
  const tokens = new Int32Array(parts.reduce((n, part) => n + part.length, 0))
  let at = 0
  for (const part of parts) {
    tokens.set(part, at)
    at += part.length
  }
  return tokens
}
