/** A model's own chat template: conversations as the text that the model was trained on. */
import { Worker } from 'node:worker_threads'
import { FileError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { workerEntry } from '../workers.js'
import type { Rendered, RenderJob } from './chat-worker.js'

/** A turn; what else it has (e.g. `tool_calls`) is for the template. */
export interface Message {
  readonly role: string
  readonly content?: unknown
  readonly [key: string]: unknown
}

/** A text to be made. */
export interface ChatPrompt {
  readonly messages: readonly Message[]
  /** JSON schemas of functions, as the template wants them. */
  readonly tools?: readonly unknown[]
  /** Whether the text ends with the beginning of an answer. */
  readonly open: boolean
}

const mostTemplateLength = 1_000_000
const timeoutMs = 60_000
const memoryMb = 512
/** Templates that write the date take it from this variable, so that results do not depend on the day. */
const dateString = '26 Jul 2024'

export class ChatTemplate {
  private constructor(
    private readonly path: string,
    private readonly template: string,
    private readonly special: Readonly<Record<string, string>>,
  ) {}

  /** Text of BOS, which a template may or may not write itself. */
  get bos(): string {
    return this.special.bos_token ?? ''
  }

  /** Reads the template of a model file. @throws FileError if it has none */
  static async open(path: string): Promise<ChatTemplate> {
    const gguf = await openGguf(path)
    try {
      const { metadata } = gguf
      const template = metadata.string('tokenizer.chat_template', '')
      if (template === '')
        throw new FileError(
          path,
          'it has no chat template (tokenizer.chat_template); evaluate it on text with --data',
        )
      if (template.length > mostTemplateLength) throw new FileError(path, 'its chat template is too long')
      const tokens = metadata.strings('tokenizer.ggml.tokens')
      const special = ['bos', 'eos'].flatMap((name) => {
        const id = metadata.number(`tokenizer.ggml.${name}_token_id`, -1)
        return tokens[id] === undefined ? [] : [[`${name}_token`, tokens[id]] as const]
      })
      return new ChatTemplate(path, template, Object.fromEntries(special))
    } finally {
      await gguf.close()
    }
  }

  /** @param nameOf what to call the prompt of an index in an error */
  async render(prompts: readonly ChatPrompt[], nameOf: (index: number) => string): Promise<string[]> {
    const variables = prompts.map(({ messages, tools, open }) => ({
      bos_token: '',
      eos_token: '',
      ...this.special,
      messages,
      add_generation_prompt: open,
      date_string: dateString,
      ...(tools && { tools }),
    }))
    const rendered = await renderOnThread({ template: this.template, variables }, this.path)
    if ('texts' in rendered) return [...rendered.texts]
    throw new FileError(this.path, `its chat template fails for ${nameOf(rendered.index)}: ${rendered.error}`)
  }
}

async function renderOnThread(job: RenderJob, path: string): Promise<Rendered> {
  const worker = new Worker(workerEntry('./chat-worker', import.meta.url), {
    workerData: job,
    resourceLimits: { maxOldGenerationSizeMb: memoryMb },
  })
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise((resolve, reject) => {
      const fail = (problem: string) => reject(new FileError(path, `its chat template ${problem}`))
      timer = setTimeout(() => fail(`takes longer than ${timeoutMs / 1000} s`), timeoutMs)
      worker.once('message', resolve)
      worker.once('error', (error) =>
        fail(`fails: ${error instanceof Error ? error.message : String(error)}`),
      )
    })
  } finally {
    clearTimeout(timer)
    await worker.terminate()
  }
}
