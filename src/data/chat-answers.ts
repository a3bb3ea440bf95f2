/**
 * Renders conversations by a chat template and locates the assistant's own words in the text: from the first character of a
 * message's content to the end of its turn. Text that the template inserts before the content, such as `<think>\n\n</think>`
 * or channel names, is not the assistant's.
 *
 * The words are located by rendering the conversation a second time with marks in their place. A conversation is a single text
 * if every prefix of it renders to a prefix of the whole. Otherwise (some templates drop the reasoning of earlier turns),
 * every answer gets its own text with everything that came before it, as the model saw it when it wrote the answer.
 */

import { QuenchError } from '../errors.js'
import type { Message } from './chat-message.js'

/** The range of characters `start` to `end` of a text. */
interface Answer {
  readonly start: number
  readonly end: number
}

/** A text and its answers, in order. */
export interface ChatText {
  readonly text: string
  readonly answers: readonly Answer[]
}

/** Renders messages; `open` adds the opening of an answer. */
export type Render = (messages: readonly Message[], open: boolean) => string

const mark = (i: number): string => `QUENCHANSWER${i}QUENCH`
const anyMark = /QUENCHANSWER(\d+)QUENCH/g
/** Message fields that hold a model's reasoning. */
const thoughts = ['reasoning_content', 'reasoning', 'thinking']
/** Number of prefixes of a long conversation that are rendered to test whether it is a single text. */
const sampled = 16
/** Limits of a conversation with one text per answer: total characters, and total messages. */
const mostCharacters = 64e6
const mostMessages = 100_000

/** @throws QuenchError of the template, or for a conversation that is too long for one text per answer */
export function renderAnswers(render: Render, messages: readonly Message[]): ChatText[] {
  const asked = [...messages.keys()].filter((i) => messages[i].role === 'assistant')
  if (asked.length === 0) return []
  const used = messages.slice(0, asked[asked.length - 1] + 1)
  const whole = render(used, false)
  const together = oneText(render, used, asked, whole)
  return together ? [together] : answerByAnswer(render, used, asked, whole)
}

/** The whole conversation with all its answers; the number of renderings does not grow with the number of answers. */
function oneText(
  render: Render,
  messages: readonly Message[],
  asked: readonly number[],
  whole: string,
): ChatText | undefined {
  const contents = asked.map((i) => plainContent(messages[i]))
  if (whole.search(anyMark) >= 0 || !contents.every((content) => content !== undefined)) return undefined
  const step = Math.max(1, (asked.length - 1) / sampled)
  for (let k = 0; k < asked.length - 1; k += step)
    if (!whole.startsWith(render(messages.slice(0, asked[Math.floor(k)] + 1), false))) return undefined
  const marked = attempt(() =>
    render(
      messages.map((message, i) =>
        message.role === 'assistant' ? { ...message, content: mark(i) } : message,
      ),
      false,
    ),
  )
  if (marked === undefined) return undefined
  const found = [...marked.matchAll(anyMark)].map(([, i]) => Number(i))
  if (found.join() !== asked.join()) return undefined
  const pieces = marked.replaceAll(anyMark, mark(0)).split(mark(0))
  const tail = pieces[pieces.length - 1]
  const answers: Answer[] = []
  let at = 0
  for (const [k, content] of contents.entries()) {
    if (!whole.startsWith(pieces[k], at)) return undefined
    const start = at + pieces[k].length
    const written = [content, content.trim(), content.trimStart(), content.trimEnd()].find(
      (text) => whole.startsWith(text, start) && whole.startsWith(pieces[k + 1], start + text.length),
    )
    if (written === undefined) return undefined
    at = start + written.length
    answers.push({ start, end: at + commonLength(pieces[k + 1], tail) })
  }
  return at + tail.length === whole.length ? { text: whole, answers } : undefined
}

/** One text per answer, or a single text if each is a prefix of the last. */
function answerByAnswer(
  render: Render,
  messages: readonly Message[],
  asked: readonly number[],
  whole: string,
): ChatText[] {
  const half = asked.length / 2 // the average share of the whole that is rendered per answer
  if (whole.length * half > mostCharacters || messages.length * half > mostMessages)
    throw new QuenchError(
      `it makes a text of its own of each of ${asked.length} answers; split the conversation into shorter ones`,
    )
  const texts = asked.map((i): ChatText => {
    const text = render(messages.slice(0, i + 1), false)
    const start = startOf(render, messages.slice(0, i), messages[i], text)
    return { text, answers: [{ start, end: text.length }] }
  })
  const last = texts[texts.length - 1]
  return texts.every(({ text }) => last.text.startsWith(text))
    ? [{ text: last.text, answers: texts.flatMap(({ answers }) => answers) }]
    : texts
}

/** Start of the last message's own words in a text. */
function startOf(render: Render, before: readonly Message[], message: Message, text: string): number {
  const marked = attempt(() => render([...before, withMark(message)], false))
  const at = marked?.indexOf(mark(0)) ?? -1
  if (marked !== undefined && at >= 0 && text.startsWith(marked.slice(0, at))) return at
  const common = commonLength(text, render(before, true))
  const tag = /<[^<>\s]*$/.exec(text.slice(Math.max(0, common - 64), common)) // a tag that begins like another one
  return common - (tag?.[0].length ?? 0)
}

/** The message with a mark in place of its words; a message without words (only tool calls) becomes the mark alone. */
function withMark(message: Message): Message {
  const { role, content } = message
  const own = thoughts.filter((field) => isText(message[field]))
  const changed: Record<string, unknown> = Object.fromEntries(own.map((field) => [field, mark(0)]))
  if (isText(content)) changed.content = mark(0)
  else if (Array.isArray(content) && content.some(isTextPart))
    changed.content = content.map((part: unknown) => (isTextPart(part) ? { ...part, text: mark(0) } : part))
  else if (own.length === 0) return { role, content: mark(0) }
  return { ...message, ...changed }
}

/** The content of a message that has no reasoning and no tool calls. */
function plainContent(message: Message): string | undefined {
  const { content, tool_calls } = message
  if (!isText(content) || tool_calls || thoughts.some((field) => message[field])) return undefined
  return content
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.trim() !== ''

const isTextPart = (part: unknown): part is { text: string } =>
  typeof part === 'object' && part !== null && 'text' in part && isText(part.text)

/** Undefined if the template refuses the marks, e.g. because it checks the words. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (error instanceof QuenchError) return undefined
    throw error
  }
}

/** Length of the common prefix of two texts. */
function commonLength(a: string, b: string): number {
  let i = 0
  while (i < a.length && i < b.length && a[i] === b[i]) i++
  return i
}
