/**
 * Greedy text, plain or with a small model that guesses ahead (speculative decoding, arXiv 2211.17192, at temperature 0).
 *
 * The draft guesses a few tokens one by one; the target computes all of them in one batch, keeps those that it would
 * have written itself, and adds its own next token. So every token is the target's choice. What llama.cpp computes for a
 * token in a batch and alone can differ in the last bits (other kernels, and attention over more than 256 tokens is
 * split between threads), so where two tokens are all but equal the texts may part; `bench` says whether they did.
 */
import { QuenchError } from '../errors.js'
import type { LlamaContext } from '../llama/index.js'

export interface Draft {
  readonly context: LlamaContext
  /** Most tokens to guess at once. */
  readonly guesses: number
}

export interface Written {
  readonly tokens: readonly number[]
  /** Seconds from the end of the prompt to the last token. */
  readonly seconds: number
  /** Tokens that the draft guessed, and those of them that the target took. */
  readonly guessed: number
  readonly accepted: number
}

export interface GreedyOptions {
  /** Tokens to write; a token that ends the text does not stop it. */
  readonly length: number
  readonly draft?: Draft
  readonly signal?: AbortSignal
}

/** Continues `prompt` (one token or more) in an empty context, which holds the text afterwards. */
export async function writeGreedily(
  target: LlamaContext,
  prompt: Int32Array,
  { length, draft, signal }: GreedyOptions,
): Promise<Written> {
  const text = Array.from(prompt)
  await readPrompt(target, prompt)
  text.push(bestToken(target, 0))
  // The draft reads the prompt in the first round, outside the time as the target's prompt is.
  if (draft) await readPrompt(draft.context, prompt)
  const began = performance.now()
  const end = prompt.length + length
  let guessed = 0
  let accepted = 0
  while (text.length < end) {
    signal?.throwIfAborted()
    const known = text.length - 1 // the target has computed these
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

/** Lets the draft catch up with `text` and guess up to `most` tokens after it. */
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

/** Computes a prompt of any length in batches; the last token gives logits. */
export async function readPrompt(context: LlamaContext, tokens: Int32Array): Promise<void> {
  for (let at = 0; at < tokens.length; at += context.batchSize)
    await context.decode(tokens.subarray(at, at + context.batchSize))
}

/** Forgets what was computed from position `length` on. */
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
