/**
 * Conversations and prompts in JSON lines: `{"messages": [{"role", "content"}, ...], "tools": [...]}`, the same as
 * `{"conversations": [{"from", "value"}, ...]}` (ShareGPT), or `{"prompt": "..."}` for a text that is to be continued.
 */
import { readFile, stat } from 'node:fs/promises'
import type { Message } from '../data/chat-template.js'
import { FileError } from '../errors.js'
import { systemError } from '../files.js'
import { humanCount } from '../format.js'
import { isDeeper } from './json-values.js'

export interface Conversation {
  /** File and line. */
  readonly name: string
  readonly messages: readonly Message[]
  readonly tools?: readonly unknown[]
}

/** Something that a model is to continue. */
export type Prompt = Conversation | { readonly name: string; readonly text: string }

const mostBytes = 500_000_000
/** Characters of a line: more than a million tokens. */
const mostCharacters = 4_000_000
/** Levels of objects and lists in a line. */
const mostLevels = 200
const shareGptRoles: Readonly<Record<string, string>> = { human: 'user', gpt: 'assistant' }

/** Reads conversations. @throws FileError for a line that is none */
export async function readConversations(path: string): Promise<Conversation[]> {
  return (await readPrompts(path)).map((prompt) => {
    if ('messages' in prompt) return prompt
    throw new FileError(path, `${prompt.name} is not a conversation: {"messages": [...]}`)
  })
}

/** Reads conversations and texts. @throws FileError for a line that is neither */
export async function readPrompts(path: string): Promise<Prompt[]> {
  let content: string
  try {
    if ((await stat(path)).size > mostBytes)
      throw new FileError(path, `is larger than ${mostBytes / 1e6} MB; split it into several files`)
    content = await readFile(path, 'utf8')
  } catch (error) {
    throw systemError(path, error)
  }
  const prompts = content
    .split('\n')
    .flatMap((line, i) => (line.trim() === '' ? [] : [parse(path, line, i + 1)]))
  if (prompts.length === 0) throw new FileError(path, 'holds no conversations')
  return prompts
}

function parse(path: string, line: string, number: number): Prompt {
  const name = `${path}:${number}`
  const wrong = (problem: string) => new FileError(path, `line ${number}: ${problem}`)
  if (line.length > mostCharacters)
    throw wrong(`it has ${humanCount(line.length)} characters, more than ${humanCount(mostCharacters)}`)
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw wrong('this is not JSON')
  }
  if (isDeeper(value, mostLevels)) throw wrong(`it is nested more than ${mostLevels} levels deep`)
  if (Array.isArray(value)) value = { messages: value }
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
