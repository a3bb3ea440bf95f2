/**
 * Texts of several kinds: a folder with one JSON Lines file per kind (`prose.jsonl`, `code.jsonl`, ...). A line is a text,
 * `{"text": "..."}`, or a conversation, `{"messages": [{"role": "user", "content": "..."}, ...]}`, which is rendered by the
 * model's chat template, or as plain text if the model has no template.
 */

import { basename } from 'node:path'
import { FileError } from '../errors.js'
import type { LlamaModel } from '../llama/index.js'
import type { Message } from './chat-message.js'
import { ChatTemplate } from './chat-template.js'
import { jsonLines, readText } from './text-file.js'
import { listFiles } from './texts.js'
import { cutWindows } from './windows.js'

/**
 * All texts in windows of `length` tokens, by kind.
 * @param path of the model, @param model the same model, with at least its vocabulary
 * @param onWarning is told why conversations are read as plain text although the model has a template
 * @throws FileError for a folder without such files, and a file that is malformed or too short for a window
 */
export async function windowsOfKinds(
  path: string,
  model: LlamaModel,
  folder: string,
  length: number,
  onWarning?: (warning: string) => void,
): Promise<Map<string, Int32Array[]>> {
  const files = (await listFiles(folder)).filter((file) => file.endsWith('.jsonl'))
  if (files.length === 0)
    throw new FileError(folder, 'holds no .jsonl files; name a folder with one for each kind of text')
  using renderer = new Renderer(path, model, onWarning)
  const kinds = new Map<string, Int32Array[]>()
  for (const file of files) {
    const documents: Int32Array[] = []
    for (const { number, value } of jsonLines(file, await readText(file))) {
      const { text, messages } = (value ?? {}) as Record<string, unknown>
      if (typeof text === 'string') documents.push(await model.tokenizeAsync(text))
      else if (isMessages(messages)) documents.push(await renderer.tokens(`${file}:${number}`, messages))
      else
        throw new FileError(
          file,
          `line ${number} has neither a string "text" nor "messages" with "role" and "content"`,
        )
    }
    const windows = cutWindows(documents, length, model)
    if (windows.length === 0)
      throw new FileError(file, `its texts do not fill a window of ${length} tokens; give more of them`)
    kinds.set(basename(file, '.jsonl'), windows)
  }
  return kinds
}

type PlainMessage = Message & { readonly content: string }

function isMessages(value: unknown): value is PlainMessage[] {
  const isMessage = (turn: unknown): boolean => {
    const { role, content } = (turn ?? {}) as Record<string, unknown>
    return typeof role === 'string' && typeof content === 'string'
  }
  return Array.isArray(value) && value.length > 0 && value.every(isMessage)
}

/** Failures after which a template is not tried again: one that loops takes a minute each time. */
const mostFailures = 3

/** Conversations as tokens, without BOS. */
class Renderer {
  private template: ChatTemplate | undefined
  private failures = 0

  constructor(
    path: string,
    private readonly model: LlamaModel,
    private readonly onWarning: ((warning: string) => void) | undefined,
  ) {
    if ((model.meta('tokenizer.chat_template') ?? '') !== '') this.template = new ChatTemplate(path)
  }

  async tokens(name: string, messages: readonly PlainMessage[]): Promise<Int32Array> {
    try {
      if (this.template) return await this.rendered(this.template, name, messages)
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      if (this.failures++ === 0)
        this.onWarning?.(`${error.message}; such conversations are read as plain text`)
      if (this.failures === mostFailures) this[Symbol.dispose]()
    }
    return this.model.tokenizeAsync(messages.map(plainTurn).join('\n'))
  }

  private async rendered(
    template: ChatTemplate,
    name: string,
    messages: readonly PlainMessage[],
  ): Promise<Int32Array> {
    const { result, bos } = await template.answers({ name, messages })
    // For a conversation of several texts, the last one: the model's view when it wrote its last answer.
    const text = result.at(-1)?.text ?? (await template.open({ name, messages })).result
    const own = bos !== '' && text.startsWith(bos) ? text.slice(bos.length) : text
    return this.model.tokenizeAsync(own, { parseSpecial: true })
  }

  [Symbol.dispose](): void {
    this.template?.[Symbol.dispose]()
    this.template = undefined
  }
}

/** `User: What is the capital of Peru?` */
const plainTurn = ({ role, content }: PlainMessage): string =>
  `${role.slice(0, 1).toUpperCase()}${role.slice(1)}: ${content}`
