/**
 * Greedy text, plain or with a small draft model (speculative decoding, arXiv 2211.17192, at temperature 0).
 *
 * The draft predicts a few tokens one by one; the target computes all of them in one batch, accepts those that it would have
 * generated itself, and adds its own next token. Every token is therefore the target's choice. llama.cpp's result for a token
 * in a batch and alone can differ in the last bits (other kernels are used, and attention over more than 256 tokens is split
 * between threads), so the texts may diverge at near ties; `bench` reports whether they did.
 */
import { QuenchError } from '../errors.js'
import type { LlamaContext } from '../llama/index.js'

export interface Draft {
  readonly context: LlamaContext
  /** Limit of tokens drafted at once. */
  readonly guesses: number
}

export interface Written {
  readonly tokens: readonly number[]
  /** Seconds from the end of the prompt to the last token. */
  readonly seconds: number
  /** Number of drafted tokens, and of those that the target accepted. */
  readonly guessed: number
  readonly accepted: number
}

export interface GreedyOptions {
  /** Tokens to generate; an end-of-text token does not stop it. */
  readonly length: number
  readonly draft?: Draft
  readonly signal?: AbortSignal
}

/** Continues `prompt` (one token or more) in an empty context, which contains the text afterwards. */
export async function writeGreedily(
  target: LlamaContext,
  prompt: Int32Array,
  { length, draft, signal }: GreedyOptions,
): Promise<Written> {
  const text = Array.from(prompt)
  await readPrompt(target, prompt)
  text.push(bestToken(target, 0))
  // The draft's prompt is computed outside the timed part, like the target's.
  if (draft) await readPrompt(draft.context, prompt)
  const began = performance.now()
  const end = prompt.length + length
  let guessed = 0
  let accepted = 0
  while (text.length < end) {
    signal?.throwIfAborted()
    const known = text.length - 1 // tokens already computed by the target
    const most = Math.min(draft?.guesses ?? 0, end - text.length - 1)
    const guesses = draft && most > 0 ? await guess(draft.context, text, most) : []
    await target.decode([text[known], ...guesses], { logits: 'all' })
    let right = 0
    while (right < guesses.length && bestToken(target, right) === guesses[right]) right++
    text.push(...guesses.slice(0, right), bestToken(target, right))
    forget(target, known + 1 + right)
    guessed += guesses.length
    accepted += right
  }
  const seconds = (performance.now() - began) / 1000
  return { tokens: text.slice(prompt.length, end), seconds, guessed, accepted }
}

/** Lets the draft catch up with `text` and draft up to `most` tokens. */
async function guess(draft: LlamaContext, text: readonly number[], most: number): Promise<number[]> {
  forget(draft, text.length - 1)
  const guesses: number[] = []
  let next: readonly number[] = text.slice(draft.sequenceLength(0))
  while (guesses.length < most) {
    await draft.decode(next)
    guesses.push(bestToken(draft, 0))
    next = guesses.slice(-1)
  }
  return guesses
}

/** Computes a prompt of any length in batches; the last token has logits. */
export async function readPrompt(context: LlamaContext, tokens: Int32Array): Promise<void> {
  for (let at = 0; at < tokens.length; at += context.batchSize)
    await context.decode(tokens.subarray(at, at + context.batchSize))
}

/** Removes position `length` and later from the cache. */
export function forget(context: LlamaContext, length: number): void {
  if (context.sequenceLength(0) <= length) return
  if (context.removeSequence(0, length)) return
  throw new QuenchError(
    `${context.model.path}: this architecture cannot take back tokens, so nothing can be guessed ahead`,
  )
}

function bestToken(context: LlamaContext, row: number): number {
  const logits = context.logits()
  const { vocabSize } = context.model
  const offset = row * vocabSize
  let best = 0
  for (let i = 1; i < vocabSize; i++) if (logits[offset + i] > logits[offset + best]) best = i
  return best
}
