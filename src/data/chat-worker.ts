/** Renders a model's chat template in a separate process. */

import { FileError } from '../errors.js'
import { type Metadata, openGguf } from '../gguf/index.js'
import { serve } from '../sandbox.js'
import { BoundedTemplate } from './bounded-template.js'
import { renderAnswers } from './chat-answers.js'
import type { Message } from './chat-message.js'
import type { Rendered, RenderRequest } from './chat-template.js'
import { renderingVariant, type Variant } from './chat-variants.js'

const mostTemplateLength = 1_000_000
/** Token type of ordinary text. */
const NORMAL = 1
/** Text that looks like a turn marker: `<end_of_turn>`, `<|im_start|>`, `[TOOL_CALLS]`. */
const turnToken = /<[^<>\s]{2,60}>|\[\/?[A-Z_]{3,40}\]/g

serve(async (path: string) => {
  const { source, special, ordinary } = await readTemplate(path)
  let template: BoundedTemplate | undefined
  return ({ chat, kind }: RenderRequest): Rendered<unknown> => {
    template ??= new BoundedTemplate(source)
    const { messages, tools } = chat
    const render = template.render.bind(template)
    const text = (variant: Variant, open: boolean): string =>
      render({
        bos_token: '',
        eos_token: '',
        ...special,
        messages: variant.messages,
        add_generation_prompt: open,
        ...(variant.tools !== undefined && { tools: variant.tools }),
      })
    if (kind === 'open') {
      const variant = renderingVariant((v) => text(v, true), messages, tools)
      const result = text(variant, true)
      return { ...common([result], messages), result }
    }
    const scored = messages.slice(0, messages.findLastIndex(({ role }) => role === 'assistant') + 1)
    const { tools: given, messages: used } = renderingVariant((v) => text(v, false), scored, tools)
    const result = renderAnswers((part, open) => text({ messages: part, tools: given }, open), used)
    return { ...common(result.map(({ text }) => text).slice(-1), messages), result }
  }

  function common(texts: readonly string[], messages: readonly Message[]) {
    const own = JSON.stringify(messages)
    const seen = new Set(texts.flatMap((text) => text.match(turnToken) ?? []))
    return {
      bos: special.bos_token ?? '',
      ordinary: [...seen].filter((token) => ordinary.has(token) && !own.includes(token)),
    }
  }
})

async function readTemplate(path: string) {
  const gguf = await openGguf(path)
  try {
    const { metadata } = gguf
    const source = metadata.string('tokenizer.chat_template', '')
    if (source === '')
      throw new FileError(
        path,
        'it has no chat template (tokenizer.chat_template), so it is probably not tuned for conversations; name the instruction-tuned model, or evaluate this one on text with --data',
      )
    if (source.length > mostTemplateLength) throw new FileError(path, 'its chat template is too long')
    const tokens = metadata.strings('tokenizer.ggml.tokens')
    const special = ['bos', 'eos'].flatMap((name) => {
      const id = metadata.number(`tokenizer.ggml.${name}_token_id`, -1)
      return tokens[id] === undefined ? [] : [[`${name}_token`, tokens[id]] as const]
    })
    return {
      source,
      special: Object.fromEntries(special) as Partial<Record<string, string>>,
      ordinary: ordinaryTurnTokens(tokens, metadata),
    }
  } finally {
    await gguf.close()
  }
}

/** Tokens that look like turn markers but have the type of ordinary text. */
function ordinaryTurnTokens(tokens: readonly string[], metadata: Metadata): ReadonlySet<string> {
  const key = 'tokenizer.ggml.token_type'
  if (!metadata.has(key)) return new Set()
  const types = metadata.numbers(key)
  return new Set(
    tokens.filter((text, i) => types[i] === NORMAL && text.match(turnToken)?.[0].length === text.length),
  )
}
