/**
 * The windows that llama-perplexity evaluates: all tokens of the text cut into pieces of `context` tokens, without
 * overlap, each begun with BOS in place of its first token where the model wants one. The second half of a window is
 * scored: positions `context / 2` to `context - 2` predict the token after them, with at least half a window to look
 * back on. The tokens of the text, 4 bytes each, are all that grows with its length.
 */
import type { Document } from '../data/texts.js'
import { UsageError } from '../errors.js'
import type { LlamaModel } from '../llama/index.js'

/** What is evaluated: texts, or tokens of the reference's vocabulary. */
export type EvaluationText = string | readonly (string | Document)[] | Int32Array

/** A sequence of tokens that is run from an empty context. */
export interface Window {
  readonly tokens: Int32Array
  /** Positions whose next token is scored, ascending. */
  readonly positions: Int32Array
  /** For each of these the document that the next token is of. */
  readonly documents: Int32Array
}

export interface Windows {
  readonly count: number
  /** Scored tokens of all windows. */
  readonly scored: number
  /** Tokens that have to be run for all windows: up to the last scored position of each. */
  readonly run: number
  /** Most tokens, and most scored positions, of a window. */
  readonly longest: number
  readonly mostScored: number
  /** Names of the documents. */
  readonly documents: readonly string[]
  /** Makes window `i`. */
  at(i: number): Window
}

const leastContext = 8

/** Cuts the text. @throws UsageError for a text, or a limit of `maxTokens`, of less than two windows */
export async function cutEvaluation(
  model: LlamaModel,
  text: EvaluationText,
  context: number,
  maxTokens = Number.POSITIVE_INFINITY,
): Promise<Windows> {
  if (!Number.isInteger(context) || context < leastContext)
    throw new UsageError(`--context is ${context}; it must be a whole number from ${leastContext}`)
  if (maxTokens < 2 * context)
    throw new UsageError(
      `--tokens is ${maxTokens}; a context of ${context} needs at least ${2 * context}, or give a smaller --context`,
    )
  const { tokens, starts, names } = await tokensOf(model, text, maxTokens)
  if (tokens.length < 2 * context)
    throw new UsageError(
      `the text has only ${tokens.length} tokens, and a context of ${context} needs at least ${2 * context}; give more text or a smaller --context`,
    )
  const count = Math.floor(Math.min(tokens.length, maxTokens) / context)
  const first = Math.floor(context / 2)
  const scored = context - 1 - first
  const positions = Int32Array.from({ length: scored }, (_, i) => first + i)
  return {
    count,
    scored: count * scored,
    run: count * (context - 1),
    longest: context,
    mostScored: scored,
    documents: names,
    at(i) {
      const start = i * context
      const window = tokens.slice(start, start + context)
      if (model.addBos && model.bos !== undefined) window[0] = model.bos
      return { tokens: window, positions, documents: positions.map((p) => documentAt(starts, start + p + 1)) }
    },
  }
}

/** The last document that starts at or before a token of the stream. */
function documentAt(starts: readonly number[], at: number): number {
  let low = 0
  let high = starts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (starts[middle] <= at) low = middle
    else high = middle - 1
  }
  return low
}

/**
 * Texts one after another, each begun as the model wants a text begun, with their names and where they start.
 * @param most tokens that are needed; of what comes after them little is read
 */
async function tokensOf(model: LlamaModel, text: EvaluationText, most: number) {
  if (text instanceof Int32Array) return { tokens: text, starts: [0], names: ['tokens'] }
  const parts: Int32Array[] = []
  const names: string[] = []
  const starts: number[] = []
  let length = 0
  for (const { name, text: whole } of documentsOf(text)) {
    if (length >= most) break
    const part = await firstTokens(model, whole, most - length)
    parts.push(part)
    names.push(name)
    starts.push(length)
    length += part.length
  }
  const tokens = new Int32Array(length)
  for (const [i, part] of parts.entries()) tokens.set(part, starts[i])
  return { tokens, starts, names }
}

/** The texts with their names; of tokens there are none. */
export function documentsOf(text: EvaluationText): Document[] {
  if (text instanceof Int32Array) return []
  return (typeof text === 'string' ? [text] : text).map((document, i) =>
    typeof document === 'string' ? { name: `text ${i + 1}`, text: document } : document,
  )
}

/** Tokens before the place where a text is cut off that may be others in the whole text: far more than one of them reaches. */
const unsettled = 4096
/** Characters of a token, more than there are in nearly all texts. */
const longTokens = 8

/** The tokens of a text, at least the first `most` of them where it has as many; not all of a long text is tokenized for a few. */
async function firstTokens(model: LlamaModel, text: string, most: number): Promise<Int32Array> {
  for (let size = longTokens * (most + unsettled); size < text.length; size *= 2) {
    const last = text.charCodeAt(size - 1)
    const end = last >= 0xd800 && last < 0xdc00 ? size - 1 : size // not within a pair
    const tokens = await model.tokenizeAsync(text.slice(0, end), { addSpecial: true })
    if (tokens.length >= most + unsettled) return tokens.subarray(0, tokens.length - unsettled)
  }
  return model.tokenizeAsync(text, { addSpecial: true })
}
