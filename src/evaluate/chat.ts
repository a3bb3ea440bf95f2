/**
 * Evaluation on conversations: each is run through the model's own chat template, and only the tokens that the assistant
 * wrote are scored, up to and with the token that ends its turn. Raw text says little of a model that was tuned to chat.
 *
 * A conversation is one window, if what the template makes of its beginning is the beginning of what it makes of the whole.
 * Where it is not (some templates drop the thoughts of earlier turns), every answer is a window with all that came before
 * it, as the model saw it when it wrote.
 */
import { setImmediate } from 'node:timers/promises'
import { type ChatPrompt, renderChat } from '../data/chat-template.js'
import { UsageError } from '../errors.js'
import type { LlamaModel } from '../llama/index.js'
import type { Conversation } from './chat-files.js'
import { evaluateWindows, type ModelOptions } from './evaluate.js'
import type { Evaluation } from './evaluation.js'
import { needModel } from './saved-reference.js'
import type { Window, Windows } from './windows.js'

export interface ChatOptions extends ModelOptions {
  readonly reference: string
  readonly original?: string
  readonly files: readonly string[]
  readonly conversations: readonly Conversation[]
  /** Most tokens of a conversation; longer ones are cut there. Default: what the model was trained with. */
  readonly context?: number
}

/** @throws FileError for a model without a chat template, UsageError if there is nothing to score */
export async function evaluateChat(options: ChatOptions): Promise<Evaluation> {
  const { reference, conversations, context } = options
  await needModel(reference)
  const { turns, bos } = await renderTurns(reference, conversations)
  return evaluateWindows(options, async (model) =>
    cutConversations(model, bos, turns, conversations, context),
  )
}

/** An answer: the text before it, and with it. */
interface Turn {
  readonly before: string
  readonly with: string
}

/** For each conversation its answers; and the text of BOS. */
async function renderTurns(reference: string, conversations: readonly Conversation[]) {
  const prompts: ChatPrompt[] = []
  const owners: number[] = []
  for (const [c, { name, messages, tools }] of conversations.entries())
    for (const [m, { role }] of messages.entries()) {
      if (role !== 'assistant') continue
      const more = tools ? { name, tools } : { name }
      prompts.push({ messages: messages.slice(0, m), open: true, ...more })
      prompts.push({ messages: messages.slice(0, m + 1), open: false, ...more })
      owners.push(c)
    }
  if (prompts.length === 0)
    throw new UsageError(
      'the conversations have no message of the role "assistant", so nothing can be scored',
    )
  const { texts, bos } = await renderChat(reference, prompts)
  const turns: Turn[][] = conversations.map(() => [])
  for (const [i, c] of owners.entries()) turns[c].push({ before: texts[2 * i], with: texts[2 * i + 1] })
  return { turns, bos }
}

async function cutConversations(
  model: LlamaModel,
  bos: string,
  turns: readonly (readonly Turn[])[],
  conversations: readonly Conversation[],
  context = model.trainContext,
): Promise<Windows> {
  const windows: Window[] = []
  const tokenize = (text: string): Int32Array =>
    model.tokenize(text, {
      addSpecial: bos === '' || !text.startsWith(bos),
      parseSpecial: true,
    })
  for (const [c, answers] of turns.entries()) {
    const last = answers.at(-1)
    if (!last) continue
    await setImmediate() // tokenizing takes its time
    const whole = answers.every((turn) => last.with.startsWith(turn.with))
    for (const group of whole ? [answers] : answers.map((turn) => [turn])) {
      const window = cutWindow(model, tokenize, group, c, context)
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

/** The window of answers of which each begins with all before it. */
function cutWindow(
  model: LlamaModel,
  tokenize: (text: string) => Int32Array,
  answers: readonly Turn[],
  conversation: number,
  context: number,
): Window {
  const tokens = tokenize(answers[answers.length - 1].with).subarray(0, context)
  const positions: number[] = []
  for (const { before, with: after } of answers) {
    const end = commonLength(tokens, tokenize(after))
    for (let i = Math.max(1, commonLength(tokens, tokenize(before))); i < end; i++) {
      positions.push(i - 1)
      if (model.isEog(tokens[i])) break // what follows is the template's
    }
  }
  return {
    tokens,
    positions: Int32Array.from(positions),
    documents: new Int32Array(positions.length).fill(conversation),
  }
}

/** Tokens that two texts begin with together. */
function commonLength(a: Int32Array, b: Int32Array): number {
  let i = 0
  while (i < a.length && i < b.length && a[i] === b[i]) i++
  return i
}
