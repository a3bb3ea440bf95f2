/** A model's own chat template: conversations as the text that the model was trained on. */
import { FileError } from '../errors.js'
import type { LlamaModel } from '../llama/index.js'
import { type Outcome, Sandbox } from '../sandbox.js'
import type { ChatText } from './chat-answers.js'
import type { Message } from './chat-message.js'

/** Messages to be rendered. */
export interface Chat {
  /** What to call it in an error. */
  readonly name: string
  readonly messages: readonly Message[]
  /** JSON schemas of functions, as the template wants them. */
  readonly tools?: readonly unknown[]
}

/** What the template makes of something. */
interface Rendering {
  /** Text of BOS, which a template may or may not write itself; empty where there is none. */
  readonly bos: string
  /**
   * Texts of tokens that the template writes and that the vocabulary holds as ordinary text (type NORMAL) although they look
   * like those that mark turns, e.g. `<start_of_turn>`. llama.cpp may cut such a text into several tokens.
   */
  readonly ordinary: readonly string[]
}

export interface Rendered<T> extends Rendering {
  readonly result: T
}

/** What the process of the template is asked: for texts with answers, or for one text, to be answered. */
export interface RenderRequest {
  readonly chat: Chat
  readonly kind: 'answers' | 'open'
}

const timeout = 60_000

/** Renders in a process of its own, since a template comes with a model file from a stranger; see sandbox.ts. */
export class ChatTemplate {
  private readonly sandbox: Sandbox<RenderRequest, Rendered<unknown>>

  /** @param path a GGUF file */
  constructor(private readonly path: string) {
    this.sandbox = new Sandbox('./chat-worker', import.meta.url, path, timeout)
  }

  /**
   * The conversation as texts, with the places of the assistant's answers.
   * @throws FileError for a model without a template, or a template that fails, loops or takes too much memory
   */
  async answers(chat: Chat): Promise<Rendered<ChatText[]>> {
    return this.expect(chat, await this.sandbox.ask({ chat, kind: 'answers' }))
  }

  /** The conversation and the beginning of an answer. @throws FileError as above */
  async open(chat: Chat): Promise<Rendered<string>> {
    return this.expect(chat, await this.sandbox.ask({ chat, kind: 'open' }))
  }

  private expect<T>(chat: Chat, outcome: Outcome<Rendered<unknown>>): Rendered<T> {
    if ('result' in outcome) return outcome.result as Rendered<T>
    throw new FileError(this.path, `its chat template fails for ${chat.name}: ${outcome.problem}`)
  }

  [Symbol.dispose](): void {
    this.sandbox.close()
  }
}

/** What to say of turn tokens of which the tokenizer makes several, if there are any. @param ordinary as in `Rendering` */
export function cutTokensWarning(
  path: string,
  model: LlamaModel,
  ordinary: Iterable<string>,
): string | undefined {
  const cut = [...new Set(ordinary)].filter((text) => model.tokenize(text, { parseSpecial: true }).length > 1)
  if (cut.length === 0) return undefined
  const shown = cut.slice(0, 5).join(', ')
  return `${path}: its chat template writes ${shown}, which its vocabulary has as ordinary text (type NORMAL) and so cuts into pieces; conversations are not what the model knows`
}
