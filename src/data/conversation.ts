/**
 * The text that a model's chat template puts before, between and after the turns of a conversation, so that the model can
 * write both sides of one. A short conversation of marks is rendered; the text between the marks is the template's.
 */
import { FileError } from '../errors.js'
import type { LlamaModel, Turns } from '../llama/index.js'
import { ChatTemplate, cutTokensWarning, type Rendered } from './chat-template.js'

/** Text up to the user's first word, and the text between turns. */
export interface Conversation {
  readonly opening: Int32Array
  readonly turns: Turns
}

const marks = ['QUENCHFIRST', 'QUENCHSECOND', 'QUENCHTHIRD'] as const
/** Largest shares of a window that the opening (some templates begin with long instructions) and a user turn may take. */
const openingShare = 1 / 2
const userShare = 1 / 4

/**
 * The conversation format of a model in windows of `length` tokens. Undefined for a model without a template, and if the
 * template fails on a plain conversation, changes the turns, or leaves too little of a window.
 * @param onWarning is told why a model with a template has no conversation format, and what makes one doubtful
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

/** The text before the user's first turn, from there to the answer, and from there to the user's next turn. */
function templatePieces(text: string): [string, string, string] | undefined {
  const [, second, third] = marks
  const [at1, at2, at3] = marks.map((mark) => text.indexOf(mark))
  if (!(at1 >= 0 && at2 > at1 && at3 > at2)) return undefined
  // The text that opens an answer may differ from the text before a known answer, e.g. in where reasoning begins.
  return [text.slice(0, at1), text.slice(at3 + third.length), text.slice(at2 + second.length, at3)]
}
