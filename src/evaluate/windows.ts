/**
 * The windows that llama-perplexity evaluates: the tokens of the text are cut into pieces of `context` tokens without overlap;
 * BOS replaces the first token of each if the model wants one. The second half of a window is scored: positions `context / 2`
 * to `context - 2` predict the token after them, with at least half a window of context. Only the tokens of the text, 4 bytes
 * each, grow with its length.
 */
import type { Document } from '../data/texts.js'
import { UsageError } from '../errors.js'
import type { LlamaModel } from '../llama/index.js'

/** The evaluated text: texts, or tokens of the reference's vocabulary. */
export type EvaluationText = string | readonly (string | Document)[] | Int32Array

/** A sequence of tokens that is run from an empty context. */
export interface Window {
  readonly tokens: Int32Array
  /** Positions whose next token is scored, ascending. */
  readonly positions: Int32Array
  /** For each of these positions, the document of the next token. */
  readonly documents: Int32Array
}

export interface Windows {
  readonly count: number
  /** Scored tokens of all windows. */
  readonly scored: number
  /** Tokens to run over all windows: up to the last scored position of each. */
  readonly run: number
  /** Largest number of tokens, and of scored positions, of a window. */
  readonly longest: number
  readonly mostScored: number
  /** Names of the documents. */
  readonly documents: readonly string[]
  /** Makes window `i`. */
  at(i: number): Window
}

const leastContext = 8

/** Cuts the text into windows. @throws UsageError if the text or `maxTokens` is shorter than two windows */
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
 * Concatenates texts, each begun as the model begins a text, with their names and start offsets.
 * @param most tokens that are needed; little is read beyond them
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

/** The texts with their names; none for tokens. */
export function documentsOf(text: EvaluationText): Document[] {
  if (text instanceof Int32Array) return []
  return (typeof text === 'string' ? [text] : text).map((document, i) =>
    typeof document === 'string' ? { name: `text ${i + 1}`, text: document } : document,
  )
}

/** Tokens before the end of a prefix that may differ from those of the whole text: far more than one token reaches. */
const unsettled = 4096
/** Characters per token, above the average of nearly all texts. */
const longTokens = 8

/**
 * The tokens of a text, at least the first `most` if it has that many; a long text is not tokenized completely for a few
 * tokens.
 */
async function firstTokens(model: LlamaModel, text: string, most: number): Promise<Int32Array> {
  for (let size = longTokens * (most + unsettled); size < text.length; size *= 2) {
    const last = text.charCodeAt(size - 1)
    const end = last >= 0xd800 && last < 0xdc00 ? size - 1 : size // do not split a surrogate pair
    const tokens = await model.tokenizeAsync(text.slice(0, end), { addSpecial: true })
    if (tokens.length >= most + unsettled) return tokens.subarray(0, tokens.length - unsettled)
  }
  return model.tokenizeAsync(text, { addSpecial: true })
}
