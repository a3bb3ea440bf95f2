/**
 * Conversations and prompts in JSON Lines: `{"messages": [{"role", "content"}, ...], "tools": [...]}`, the same as
 * `{"conversations": [{"from", "value"}, ...]}` (ShareGPT), or `{"prompt": "..."}` for a text to be continued.
 */
import type { Message } from '../../data/chat-message.js'
import { type JsonLine, jsonLines, readText } from '../../data/text-file.js'
import { FileError } from '../../errors.js'

export interface Conversation {
  /** File and line. */
  readonly name: string
  readonly messages: readonly Message[]
  readonly tools?: readonly unknown[]
}

/** Input for a model to continue. */
export type Prompt = Conversation | { readonly name: string; readonly text: string }

/** Limits per line: more than a million tokens, and deeper nesting than tool schemas have. */
const limits = { longest: 4_000_000, deepest: 200 }
const shareGptRoles: Readonly<Record<string, string>> = { human: 'user', gpt: 'assistant' }

/** Reads conversations. @throws FileError for a line that is not a conversation */
export async function readConversations(path: string): Promise<Conversation[]> {
  return (await readPrompts(path)).map((prompt) => {
    if ('messages' in prompt) return prompt
    throw new FileError(path, `${prompt.name} is not a conversation: {"messages": [...]}`)
  })
}

/** Reads conversations and texts. @throws FileError for a line that is neither */
export async function readPrompts(path: string): Promise<Prompt[]> {
  const prompts = Array.from(jsonLines(path, await readText(path), limits), (line) => parse(path, line))
  if (prompts.length === 0) throw new FileError(path, 'holds no conversations')
  return prompts
}

function parse(path: string, { number, value: given }: JsonLine): Prompt {
  const name = `${path}:${number}`
  const wrong = (problem: string) => new FileError(path, `line ${number}: ${problem}`)
  const value = Array.isArray(given) ? { messages: given } : given
  if (typeof value !== 'object' || value === null) throw wrong('this is not a JSON object')
  const { prompt, messages, conversations, tools } = value as Record<string, unknown>
  if (typeof prompt === 'string' && prompt !== '') return { name, text: prompt }
  const list = messages ?? (Array.isArray(conversations) ? conversations.map(fromShareGpt) : undefined)
  if (!isMessages(list))
    throw wrong('it has no "messages": a list of {"role": "...", "content": "..."}, nor a "prompt"')
  if (tools !== undefined && !Array.isArray(tools)) throw wrong('its "tools" are not a list')
  return { name, messages: list, ...(tools !== undefined && { tools }) }
}

function fromShareGpt(turn: unknown): unknown {
  const { from, value } = (turn ?? {}) as Record<string, unknown>
  return { role: shareGptRoles[String(from)] ?? from, content: value }
}

function isMessages(value: unknown): value is Message[] {
  const isMessage = (turn: unknown): boolean =>
    typeof turn === 'object' && turn !== null && 'role' in turn && typeof turn.role === 'string'
  return Array.isArray(value) && value.length > 0 && value.every(isMessage)
}
