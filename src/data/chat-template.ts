/** A model's own chat template: renders conversations in the format that the model was trained on. */
import { FileError } from '../errors.js'
import type { LlamaModel } from '../llama/index.js'
import { type Outcome, Sandbox } from '../sandbox.js'
import type { ChatText } from './chat-answers.js'
import type { Message } from './chat-message.js'

/** A conversation to render. */
export interface Chat {
  /** Name used in errors. */
  readonly name: string
  readonly messages: readonly Message[]
  /** JSON schemas of functions, in the form that the template expects. */
  readonly tools?: readonly unknown[]
}

/** Properties of every rendering. */
interface Rendering {
  /** Text of BOS, which the template may or may not write itself; empty if the vocabulary has none. */
  readonly bos: string
  /**
   * Tokens that the template writes and that look like turn markers, e.g. `<start_of_turn>`, but that the vocabulary marks as
   * ordinary text (type NORMAL). llama.cpp may split such a text into several tokens.
   */
  readonly ordinary: readonly string[]
}

export interface Rendered<T> extends Rendering {
  readonly result: T
}

/** A request to the template's process: the texts with their answers, or one text that ends at the opening of an answer. */
export interface RenderRequest {
  readonly chat: Chat
  readonly kind: 'answers' | 'open'
}

const timeout = 60_000

/** Renders in a separate process, since a template is part of an untrusted model file; see sandbox.ts. */
export class ChatTemplate {
  private readonly sandbox: Sandbox<RenderRequest, Rendered<unknown>>

  /** @param path a GGUF file */
  constructor(private readonly path: string) {
    this.sandbox = new Sandbox('./chat-worker', import.meta.url, path, timeout)
  }

  /**
   * The conversation as texts, with the ranges of the assistant's answers.
   * @throws FileError for a model without a template, or a template that fails, loops or takes too much memory
   */
  async answers(chat: Chat): Promise<Rendered<ChatText[]>> {
    return this.expect(chat, await this.sandbox.ask({ chat, kind: 'answers' }))
  }

  /** The conversation and the opening of an answer. @throws FileError as above */
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

/**
 * A warning about turn markers that the tokenizer splits into several tokens, if there are any. @param ordinary as in
 * `Rendering`
 */
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
