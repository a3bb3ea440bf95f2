/**
 * The texts that ship with quench, as windows of a model's tokens: five kinds of text, so that what a run computes and what it
 * is validated on are not the text of one kind only. Conversations go through the model's own chat template where it has one.
 */
import { type Conversation, conversationOf } from '../data/conversation.js'
import { readShippedTexts, type ShippedDocument, type ShippedMessage } from '../data/shipped-texts.js'
import { cutWindows, spread } from '../data/windows.js'
import type { LlamaModel } from '../llama/index.js'
import type { KindWindows } from './validation.js'

/** All windows of a set, by kind. */
export async function generalWindows(
  set: 'calibration' | 'validation',
  path: string,
  model: LlamaModel,
  length: number,
): Promise<KindWindows[]> {
  const conversation = await conversationOf(path, model, length)
  const texts = await readShippedTexts(set)
  const result: KindWindows[] = []
  for (const { kind, documents } of texts) {
    const tokens: Int32Array[] = []
    for (const document of documents) tokens.push(await tokensOf(model, document, conversation))
    result.push({ kind, windows: cutWindows(tokens, length, model) })
  }
  return result
}

async function tokensOf(
  model: LlamaModel,
  document: ShippedDocument,
  conversation: Conversation | undefined,
): Promise<Int32Array> {
  if ('text' in document) return model.tokenizeAsync(document.text)
  if (!conversation) return model.tokenizeAsync(document.messages.map(plainTurn).join('\n\n'))
  const { opening, turns } = conversation
  const parts: Int32Array[] = []
  for (const [i, { role, content }] of document.messages.entries()) {
    if (role === 'user') parts.push(i === 0 ? withoutBos(opening, model) : turns.toUser)
    else parts.push(turns.toAssistant)
    parts.push(await model.tokenizeAsync(content))
  }
  return Int32Array.from(parts.flatMap((part) => Array.from(part)))
}

/** Windows begin with BOS themselves where the model wants one. */
const withoutBos = (tokens: Int32Array, { addBos, bos }: LlamaModel): Int32Array =>
  addBos && tokens[0] === bos ? tokens.subarray(1) : tokens

const plainTurn = ({ role, content }: ShippedMessage): string =>
  `${role === 'user' ? 'User' : 'Assistant'}: ${content}`

/** As many windows of each kind, up to `count` of each, evenly spread over it. */
export const ofEachKind = (text: readonly KindWindows[], count: number): KindWindows[] =>
  text.map(({ kind, windows }) => ({ kind, windows: spread(windows, count) }))

/** Splits windows of each kind in `count` of them, evenly spread, and the others. */
export function splitKinds(
  text: readonly KindWindows[],
  count: number,
): { taken: KindWindows[]; rest: KindWindows[] } {
  const taken = ofEachKind(text, count)
  const rest = text.map(({ kind, windows }, k) => {
    const chosen = new Set(taken[k].windows)
    return { kind, windows: windows.filter((window) => !chosen.has(window)) }
  })
  return { taken, rest }
}

/** At most `count` windows, as many of each kind as possible, in turns. */
export function inTurns(text: readonly KindWindows[], count: number): Int32Array[] {
  const longest = Math.max(0, ...text.map(({ windows }) => windows.length))
  const counts = text.map(() => 0)
  let left = Math.min(
    count,
    text.reduce((sum, { windows }) => sum + windows.length, 0),
  )
  for (let round = 0; round < longest && left > 0; round++)
    for (const [k, { windows }] of text.entries())
      if (counts[k] < windows.length && left > 0) {
        counts[k]++
        left--
      }
  const chosen = text.map(({ windows }, k) => spread(windows, counts[k]))
  return Array.from({ length: longest }, (_, i) => chosen.flatMap((windows) => windows[i] ?? [])).flat()
}
