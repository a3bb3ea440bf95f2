/**
 * Variants of the input to a chat template. Users write conversations in the format of the OpenAI API, and templates expect
 * the format of the `transformers` library. If a template fails on one format, or renders it as no model was trained on, it is
 * given the other:
 * - `content: null` next to tool calls becomes an empty text,
 * - call arguments as JSON text become the object that the text encodes,
 * - without tools, `tools` is null or an empty list instead of undefined.
 */

import { QuenchError } from '../errors.js'
import type { Message } from './chat-message.js'

export interface Variant {
  readonly messages: readonly Message[]
  readonly tools: readonly unknown[] | null | undefined
}

/**
 * The first variant that renders. @throws QuenchError with the reason of the variant whose messages are in the `transformers`
 * format
 */
export function renderingVariant(
  render: (variant: Variant) => string,
  messages: readonly Message[],
  tools: readonly unknown[] | undefined,
): Variant {
  let failure: QuenchError | undefined
  for (const variant of variants(messages, tools))
    try {
      return withoutNull(render, withArgumentsOnce(render, variant, render(variant)))
    } catch (error) {
      if (!(error instanceof QuenchError)) throw error
      if (variant.tools === tools) failure = error
    }
  throw failure
}

function* variants(messages: readonly Message[], tools: readonly unknown[] | undefined): Generator<Variant> {
  const withContent = changed(messages, contentAsText)
  const forms = [messages, withContent, changed(withContent, argumentsAsObjects)]
  for (const given of tools ? [tools] : [undefined, null, []])
    for (const form of new Set(forms)) yield { messages: form, tools: given }
}

/**
 * The variant with objects, if the template encoded arguments that are already JSON text a second time, `"{\"a\":1}"` instead
 * of `{"a":1}`: no model was trained on that.
 */
function withArgumentsOnce(render: (variant: Variant) => string, variant: Variant, text: string): Variant {
  const twice = variant.messages
    .flatMap(callsOf)
    .some(
      (call) =>
        argumentsObject(call) !== undefined &&
        !text.includes(call.arguments as string) &&
        text.includes(JSON.stringify(call.arguments)),
    )
  if (!twice) return variant
  const parsed = { ...variant, messages: changed(variant.messages, argumentsAsObjects) }
  return renders(render, parsed) === undefined ? variant : parsed
}

/** The variant with empty texts, if the template rendered a null content as a word. */
function withoutNull(render: (variant: Variant) => string, variant: Variant): Variant {
  const messages = changed(variant.messages, contentAsText)
  if (messages === variant.messages) return variant
  const nulls = (text: string): number => text.match(/\bnull\b/g)?.length ?? 0
  const text = renders(render, { ...variant, messages })
  return text !== undefined && nulls(text) < nulls(render(variant)) ? { ...variant, messages } : variant
}

function renders(render: (variant: Variant) => string, variant: Variant): string | undefined {
  try {
    return render(variant)
  } catch (error) {
    if (error instanceof QuenchError) return undefined
    throw error
  }
}

type Call = Readonly<Record<string, unknown>>

/** The calls of a message without their wrappers (`{"type": "function", "function": call}`). */
function callsOf({ tool_calls }: Message): Call[] {
  return Array.isArray(tool_calls) ? tool_calls.filter(isObject).map(innerCall) : []
}

const innerCall = (call: Call): Call => (isObject(call.function) ? call.function : call)

function contentAsText(message: Message): Message {
  return message.tool_calls && (message.content === null || message.content === undefined)
    ? { ...message, content: '' }
    : message
}

function argumentsAsObjects(message: Message): Message {
  const { tool_calls } = message
  if (!callsOf(message).some(argumentsObject)) return message
  const parsed = (tool_calls as unknown[]).map((outer) => {
    if (!isObject(outer)) return outer
    const call = innerCall(outer)
    const object = argumentsObject(call)
    if (object === undefined) return outer
    const inner = { ...call, arguments: object }
    return call === outer ? inner : { ...outer, function: inner }
  })
  return { ...message, tool_calls: parsed }
}

function argumentsObject({ arguments: text }: Call): object | undefined {
  if (typeof text !== 'string') return undefined
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Returns the same list if nothing changes. */
function changed(messages: readonly Message[], change: (message: Message) => Message): readonly Message[] {
  const result = messages.map(change)
  return result.some((message, i) => message !== messages[i]) ? result : messages
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
