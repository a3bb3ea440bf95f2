/**
 * What a model's chat template puts before, between and after the turns of a conversation, so that the model can write both
 * sides of one. A short conversation is rendered whose messages are marks; what stands between the marks is the template's.
 */
import { FileError } from '../errors.js'
import type { LlamaModel, Turns } from '../llama/index.js'
import { ChatTemplate, cutTokensWarning, type Rendered } from './chat-template.js'

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
 * @param onWarning is told why a model with a template has no conversation, and what makes one doubtful
 */
export async function conversationOf(
  path: string,
  model: LlamaModel,
  length: number,
  onWarning?: (warning: string) => void,
): Promise<Conversation | undefined> {
  if ((model.meta('tokenizer.chat_template') ?? '') === '') return undefined
  const none = (reason: string): undefined => {
    onWarning?.(`${reason}; the model writes plain text and no conversations`)
    return undefined
  }
  let rendered: Rendered<string>
  try {
    rendered = await renderPlain(path)
  } catch (error) {
    if (error instanceof FileError) return none(error.message)
    throw error
  }
  const pieces = templatePieces(rendered.result)
  if (pieces === undefined) return none(`${path}: its chat template does not write the messages as they are`)
  const [before, toAssistant, toUser] = pieces
  const { bos } = rendered
  const tokenize = (text: string): Promise<Int32Array> => model.tokenizeAsync(text, { parseSpecial: true })
  const first = model.addBos && model.bos !== undefined && !(bos !== '' && before.startsWith(bos))
  const opening = Int32Array.from([...(first ? [model.bos] : []), ...(await tokenize(before))] as number[])
  if (opening.length === 0) return none(`${path}: its chat template writes nothing before the first message`)
  if (opening.length > length * openingShare)
    return none(
      `${path}: its chat template begins with ${opening.length} tokens, more than half of a window of ${length}`,
    )
  const warning = cutTokensWarning(path, model, rendered.ordinary)
  if (warning !== undefined) onWarning?.(warning)
  return {
    opening,
    turns: {
      toAssistant: await tokenize(toAssistant),
      toUser: await tokenize(toUser),
      longestUserTurn: Math.max(8, Math.floor(length * userShare)),
    },
  }
}

async function renderPlain(path: string): Promise<Rendered<string>> {
  const [first, second, third] = marks
  const messages = [
    { role: 'user', content: first },
    { role: 'assistant', content: second },
    { role: 'user', content: third },
  ]
  using template = new ChatTemplate(path)
  return await template.open({ name: 'a plain conversation', messages })
}

/** What stands before the user's first turn, from there to the answer, and from there to the user's next turn. */
function templatePieces(text: string): [string, string, string] | undefined {
  const [, second, third] = marks
  const [at1, at2, at3] = marks.map((mark) => text.indexOf(mark))
  if (!(at1 >= 0 && at2 > at1 && at3 > at2)) return undefined
  // The text before an answer that is to be written can differ from that before one that is known, e.g. in where thoughts begin.
  return [text.slice(0, at1), text.slice(at3 + third.length), text.slice(at2 + second.length, at3)]
}
