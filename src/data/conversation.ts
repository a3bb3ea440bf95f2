/**
 * What a model's chat template puts before, between and after the turns of a conversation, so that the model can write both
 * sides of one. A short conversation is rendered whose messages are marks; what stands between the marks is the template's.
 */
import { FileError } from '../errors.js'
import type { LlamaModel, Turns } from '../llama/index.js'
import { type Rendered, renderChat } from './chat-template.js'

/** What a conversation begins with, up to the first word of the user, and what stands between its turns. */
export interface Conversation {
  readonly opening: Int32Array
  readonly turns: Turns
}

const marks = ['QUENCHFIRST', 'QUENCHSECOND', 'QUENCHTHIRD'] as const
/** Of a window, what the opening may take (some templates begin with long instructions), and a turn of the user. */
const openingShare = 1 / 2
const userShare = 1 / 4

/**
 * The conversation of a model in windows of `length` tokens. Undefined for a model without a template, and where the template fails
 * on a plain conversation, does not write the turns as they are, or leaves too little of a window.
 */
export async function conversationOf(
  path: string,
  model: LlamaModel,
  length: number,
): Promise<Conversation | undefined> {
  if ((model.meta('tokenizer.chat_template') ?? '') === '') return undefined
  const pieces = await templatePieces(path)
  if (pieces === undefined) return undefined
  const [before, toAssistant, toUser, bos] = pieces
  const tokenize = (text: string): Int32Array => model.tokenize(text, { parseSpecial: true })
  const first = model.addBos && model.bos !== undefined && !(bos !== '' && before.startsWith(bos))
  const opening = Int32Array.from([...(first ? [model.bos] : []), ...tokenize(before)] as number[])
  if (opening.length === 0 || opening.length > length * openingShare) return undefined
  return {
    opening,
    turns: {
      toAssistant: tokenize(toAssistant),
      toUser: tokenize(toUser),
      longestUserTurn: Math.max(8, Math.floor(length * userShare)),
    },
  }
}

/** Before the user's first turn, from there to the answer, from there to the user's next turn; and the text of BOS. */
async function templatePieces(path: string): Promise<[string, string, string, string] | undefined> {
  const [first, second, third] = marks
  const messages = [
    { role: 'user', content: first },
    { role: 'assistant', content: second },
    { role: 'user', content: third },
  ]
  let rendered: Rendered
  try {
    rendered = await renderChat(path, [{ name: 'a plain conversation', messages, open: true }])
  } catch (error) {
    if (error instanceof FileError) return undefined
    throw error
  }
  const {
    texts: [text],
    bos,
  } = rendered
  const [at1, at2, at3] = marks.map((mark) => text.indexOf(mark))
  if (!(at1 >= 0 && at2 > at1 && at3 > at2)) return undefined
  // The text before an answer that is to be written can differ from that before one that is known, e.g. in where thoughts begin.
  return [text.slice(0, at1), text.slice(at3 + third.length), text.slice(at2 + second.length, at3), bos]
}
