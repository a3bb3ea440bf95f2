/**
 * Renders chat templates on a thread of its own, since a template comes with a model file from a stranger: it may loop for
 * long or take all memory, and the caller ends the thread then.
 */
import { workerData } from 'node:worker_threads'
import { Template } from '@huggingface/jinja'
import { FileError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { answer } from '../workers.js'
import type { ChatPrompt, Rendered } from './chat-template.js'

/** What is to be rendered by the template of the model at `path`. */
export interface RenderJob {
  readonly path: string
  readonly prompts: readonly ChatPrompt[]
}

const mostTemplateLength = 1_000_000
/** Templates that write the date take it from this variable, so that results do not depend on the day. */
const dateString = '26 Jul 2024'

await answer(() => render(workerData as RenderJob))

async function render({ path, prompts }: RenderJob): Promise<Rendered> {
  const { source, special } = await readTemplate(path)
  const texts: string[] = []
  try {
    const template = new Template(source)
    for (const { messages, tools, open } of prompts)
      texts.push(
        template.render({
          bos_token: '',
          eos_token: '',
          ...special,
          messages,
          add_generation_prompt: open,
          date_string: dateString,
          ...(tools && { tools }),
        }),
      )
  } catch (error) {
    const name = prompts[texts.length]?.name ?? 'any text'
    const reason = error instanceof Error ? error.message : String(error)
    throw new FileError(path, `its chat template fails for ${name}: ${reason}`)
  }
  return { texts, bos: special.bos_token ?? '' }
}

async function readTemplate(path: string) {
  const gguf = await openGguf(path)
  try {
    const { metadata } = gguf
    const source = metadata.string('tokenizer.chat_template', '')
    if (source === '')
      throw new FileError(
        path,
        'it has no chat template (tokenizer.chat_template); evaluate it on text with --data',
      )
    if (source.length > mostTemplateLength) throw new FileError(path, 'its chat template is too long')
    const tokens = metadata.strings('tokenizer.ggml.tokens')
    const special = ['bos', 'eos'].flatMap((name) => {
      const id = metadata.number(`tokenizer.ggml.${name}_token_id`, -1)
      return tokens[id] === undefined ? [] : [[`${name}_token`, tokens[id]] as const]
    })
    return { source, special: Object.fromEntries(special) as Partial<Record<string, string>> }
  } finally {
    await gguf.close()
  }
}
