/**
 * Evaluation on conversations: each is rendered by the model's own chat template, and only the assistant's tokens are scored,
 * including the token that ends its turn. Raw text says little about a model tuned for chat.
 *
 * Each rendered text is a window: the whole conversation, or one answer with everything before it (chat-answers.ts).
 */

import { setImmediate } from 'node:timers/promises'
import type { ChatText } from '../../data/chat-answers.js'
import { ChatTemplate, cutTokensWarning } from '../../data/chat-template.js'
import { UsageError } from '../../errors.js'
import type { LlamaModel } from '../../llama/index.js'
import { checkOptionNames } from '../../option-checks.js'
import { evaluateWindows } from '../evaluate.js'
import type { Evaluation } from '../evaluation.js'
import { type ModelOptions, modelOptions } from '../models.js'
import { needModel } from '../references/index.js'
import type { Window, Windows } from '../windows.js'
import type { Conversation } from './chat-files.js'
import { tokenAt, tokenEnds } from './token-ends.js'

export interface ChatOptions extends ModelOptions {
  readonly reference: string
  readonly original?: string
  readonly files: readonly string[]
  readonly conversations: readonly Conversation[]
  /** Limit of tokens per conversation; longer ones are truncated. Default: the model's training context. */
  readonly context?: number
}

/** @throws FileError for a model without a chat template, UsageError if there is nothing to score */
export async function evaluateChat(options: ChatOptions): Promise<Evaluation> {
  const { reference, conversations, context } = options
  checkOptionNames(options, {
    ...modelOptions,
    reference: true,
    original: true,
    files: true,
    conversations: true,
    context: true,
  })
  await needModel(reference)
  const { texts, bos, ordinary } = await renderAll(reference, conversations)
  let warning: string | undefined
  const evaluation = await evaluateWindows(options, async (model) => {
    warning = cutTokensWarning(reference, model, ordinary)
    return cutConversations(model, bos, texts, conversations, context)
  })
  return warning === undefined ? evaluation : { ...evaluation, warnings: [...evaluation.warnings, warning] }
}

/** The texts of each conversation. */
async function renderAll(reference: string, conversations: readonly Conversation[]) {
  if (!conversations.some(({ messages }) => messages.some(({ role }) => role === 'assistant')))
    throw new UsageError(
      'the conversations have no message of the role "assistant", so nothing can be scored',
    )
  using template = new ChatTemplate(reference)
  const texts: ChatText[][] = []
  const all = { bos: '', ordinary: new Set<string>() }
  for (const conversation of conversations) {
    const { result, bos, ordinary } = await template.answers(conversation)
    texts.push(result)
    all.bos = bos
    for (const token of ordinary) all.ordinary.add(token)
  }
  return { texts, ...all }
}

async function cutConversations(
  model: LlamaModel,
  bos: string,
  texts: readonly (readonly ChatText[])[],
  conversations: readonly Conversation[],
  context = model.trainContext,
): Promise<Windows> {
  const windows: Window[] = []
  for (const [c, ofConversation] of texts.entries()) {
    await setImmediate() // locating tokens is slow
    for (const text of ofConversation) {
      const window = await cutWindow(model, bos, text, c, context)
      if (window.positions.length > 0) windows.push(window)
    }
  }
  if (windows.length === 0)
    throw new UsageError('the conversations leave no token of an assistant to score; give a larger --context')
  const most = (of: (window: Window) => number): number =>
    windows.reduce((m, window) => Math.max(m, of(window)), 0)
  const total = (of: (window: Window) => number): number =>
    windows.reduce((sum, window) => sum + of(window), 0)
  return {
    count: windows.length,
    scored: total(({ positions }) => positions.length),
    run: total(({ positions }) => (positions.at(-1) ?? 0) + 1),
    longest: most(({ tokens }) => tokens.length),
    mostScored: most(({ positions }) => positions.length),
    documents: conversations.map(({ name }) => name),
    at: (i) => windows[i],
  }
}

/** The window of a text. The tokens of its answers are scored, each answer up to the first token that ends a turn. */
async function cutWindow(
  model: LlamaModel,
  bos: string,
  { text, answers }: ChatText,
  conversation: number,
  context: number,
): Promise<Window> {
  const tokenize = (part: string): Promise<Int32Array> =>
    model.tokenizeAsync(part, { addSpecial: bos === '' || !part.startsWith(bos), parseSpecial: true })
  const all = await tokenize(text)
  const ends = tokenEnds(model, all, Buffer.from(text))
  const bytes = byteCounter(text)
  // The token that contains a character; if the tokens do not spell the text, the first token beyond those of its prefix.
  const tokenOf = async (character: number): Promise<number> =>
    character === text.length
      ? all.length
      : ends
        ? tokenAt(ends, bytes(character))
        : commonLength(all, await tokenize(text.slice(0, character)))
  const tokens = all.subarray(0, context)
  const positions: number[] = []
  for (const { start, end } of answers) {
    const first = Math.max(1, await tokenOf(start))
    if (first >= tokens.length) break
    const last = Math.min(tokens.length, await tokenOf(end))
    for (let i = first; i < last; i++) {
      positions.push(i - 1)
      if (model.isEog(tokens[i])) break // the rest is the template's
    }
  }
  return {
    tokens,
    positions: Int32Array.from(positions),
    documents: new Int32Array(positions.length).fill(conversation),
  }
}

/** Counts the bytes before a character of a text, for characters in ascending order. */
function byteCounter(text: string): (character: number) => number {
  let [at, bytes] = [0, 0]
  return (character) => {
    bytes += Buffer.byteLength(text.slice(at, character))
    at = character
    return bytes
  }
}

/** Length of the common prefix in tokens. */
function commonLength(a: Int32Array, b: Int32Array): number {
  let i = 0
  while (i < a.length && i < b.length && a[i] === b[i]) i++
  return i
}
