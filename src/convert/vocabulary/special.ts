/**
 * Special tokens and chat templates: which token begins and ends a text, and whether a text gets them. The post-processor of
 * tokenizer.json says what Transformers adds, tokenizer_config.json names the tokens, config.json has their ids where the others have not.
 */
import { join } from 'node:path'
import type { Checkpoint, Fields } from '../../checkpoint/index.js'
import { FileError } from '../../errors.js'
import { quote } from '../../gguf/index.js'
import { readInput } from '../../input-file.js'
import { entriesOf } from '../../system-errors.js'
import { bool, type Entry, string, strings, uint32 } from '../values.js'
import { specialNames, textOf } from './tokenizer-json.js'

/** Keys of the ids by the role's name. */
export const idKeys: Readonly<Record<string, string>> = {
  bos: 'bos_token_id',
  eos: 'eos_token_id',
  unk: 'unknown_token_id',
  sep: 'seperator_token_id',
  pad: 'padding_token_id',
  mask: 'mask_token_id',
  eot: 'eot_token_id',
  eom: 'eom_token_id',
}
/** Roles for which GGUF has a flag that a text gets the token. */
const flagged = ['bos', 'eos', 'sep']
const mostTemplateBytes = 16e6
const mostTemplates = 64

/** Special tokens and the templates. @param size number of tokens */
export async function specialEntries(checkpoint: Checkpoint, config: Fields, size: number): Promise<Entry[]> {
  const tokenizer = await checkpoint.json('tokenizer.json')
  const settings = await checkpoint.json('tokenizer_config.json')
  const roles = new Roles(tokenizer, settings)
  const ids = roles.ids(config, size)
  const flags = [...roles.flags].filter(([role]) => flagged.includes(role))
  return [
    ...ids.map(([role, id]) => [`tokenizer.ggml.${idKeys[role]}`, uint32(id)] as const),
    ...flags.map(([role, added]) => [`tokenizer.ggml.add_${role}_token`, bool(added)] as const),
    ...(settings ? await templateEntries(checkpoint, settings) : []),
  ]
}

/** Which tokens have which role. */
class Roles {
  /** Whether a text gets the token of a role, where the files say so. */
  readonly flags = new Map<string, boolean>()
  /** Texts of the tokens by role. */
  readonly texts = new Map<string, string>()
  readonly names = [...specialNames]

  constructor(
    private readonly tokenizer: Fields | undefined,
    private readonly settings: Fields | undefined,
  ) {
    for (const role of this.names) {
      const text = textOf(settings?.value(`${role}_token`))
      if (text !== undefined && text !== '') this.texts.set(role, text)
    }
    if (tokenizer) this.#readPostProcessor(tokenizer)
    if (!settings) return
    for (const role of this.names) {
      const flag = settings.value(`add_${role}_token`)
      if (typeof flag === 'boolean') this.flags.set(role, flag)
    }
  }

  #readPostProcessor(tokenizer: Fields): void {
    const { texts } = this
    if (this.settings) {
      const [cls, sep] = [texts.get('cls'), texts.get('sep')]
      if (!texts.has('bos') && cls !== undefined) texts.set('bos', cls)
      if (!texts.has('eos') && sep !== undefined) texts.set('eos', sep)
    }
    const processor = tokenizer.object('post_processor')
    if (!processor) return
    for (const each of processor.has('processors') ? processor.objects('processors') : [processor])
      if (each.value('type') === 'TemplateProcessing') this.#readTemplate(each)
  }

  /** What stands before and after a text, and between two. */
  #readTemplate(processor: Fields): void {
    const tokenAt = (part: Fields | undefined): string | undefined => {
      const id = part?.object('SpecialToken')?.value('id')
      return typeof id === 'string' ? id : undefined
    }
    const single = processor.objects('single')
    const [first, last] = single.length > 1 ? [tokenAt(single[0]), tokenAt(single.at(-1))] : []
    const { texts, flags } = this
    if (first !== undefined) {
      if (!texts.has('bos')) texts.set('bos', first)
      flags.set('bos', first === texts.get('bos') || first === texts.get('cls'))
    }
    if (last !== undefined) {
      const eos = texts.get('eos')
      // Another token that ends texts: the one named so far ends turns.
      if (eos !== undefined && eos !== last && this.settings) {
        const role = this.names.includes('eot') ? 'eom' : 'eot'
        this.names.push(role)
        texts.set(role, eos)
      }
      texts.set('eos', last)
      flags.set('eos', true)
    }
    this.#readPair(processor.objects('pair'), first, last, tokenAt)
  }

  /** Of two texts: A, one or two separators, B. */
  #readPair(
    pair: readonly Fields[],
    first: string | undefined,
    last: string | undefined,
    tokenAt: (part: Fields | undefined) => string | undefined,
  ): void {
    if (pair.length === 0) return
    const begins = first !== undefined && tokenAt(pair[0]) === first ? 1 : 0
    const ends = last !== undefined && tokenAt(pair.at(-1)) === last ? pair.length - 1 : pair.length
    const inner = pair.slice(begins, ends)
    const sequence = (part: Fields | undefined): unknown => part?.object('Sequence')?.value('id')
    const between = inner.slice(1, -1)
    if (sequence(inner[0]) !== 'A' || sequence(inner.at(-1)) !== 'B' || between.length === 0) return
    const separates = (part: Fields | undefined): boolean => {
      const text = tokenAt(part)
      return text !== undefined && (text === this.texts.get('sep') || text === this.texts.get('eos'))
    }
    const added =
      (separates(between[0]) && last === undefined) || (between.length === 2 && separates(between[1]))
    this.flags.set('sep', added)
    const eos = this.texts.get('eos')
    if (added && !this.texts.has('sep') && eos !== undefined) this.texts.set('sep', eos)
  }

  /** The ids: of added tokens by their text, else what config.json says. */
  ids(config: Fields, size: number): (readonly [role: string, id: number])[] {
    const byText = new Map<unknown, unknown>()
    for (const token of this.tokenizer?.objects('added_tokens') ?? [])
      if (!byText.has(token.value('content'))) byText.set(token.value('content'), token.value('id'))
    const found: (readonly [string, number])[] = []
    for (const role of this.names) {
      const text = this.texts.get(role)
      const named = text === undefined || !this.settings ? undefined : byText.get(text)
      const id = [named, config.value(`${role}_token_id`)].find((each) => isId(each, size))
      if (id !== undefined && Object.hasOwn(idKeys, role)) found.push([role, id as number])
    }
    return found
  }
}

const isId = (value: unknown, size: number): boolean =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < size

/** Chat templates: of files of their own, or in tokenizer_config.json, which counts if both are there. */
async function templateEntries(checkpoint: Checkpoint, settings: Fields): Promise<Entry[]> {
  const found = settings.value('chat_template') ?? (await templateOfFiles(checkpoint))
  if (typeof found === 'string') return [['tokenizer.chat_template', string(found)]]
  if (!Array.isArray(found)) return []
  const named = found.flatMap((each): [string, string][] => {
    const { name, template } = (each ?? {}) as Record<string, unknown>
    if (typeof name !== 'string' || typeof template !== 'string') return []
    return [[name.replaceAll(/[^A-Za-z0-9]/g, '_'), template]]
  })
  const main = named.find(([name]) => name === 'default')
  const others = named.filter(([name]) => name !== 'default' && name !== '')
  return [
    ...others.map(([name, text]) => [`tokenizer.chat_template.${name}`, string(text)] as const),
    ...(others.length > 0
      ? [['tokenizer.chat_templates', strings(others.map(([name]) => name))] as const]
      : []),
    ...(main ? [['tokenizer.chat_template', string(main[1])] as const] : []),
  ]
}

async function templateOfFiles(checkpoint: Checkpoint): Promise<unknown> {
  const { folder, files } = checkpoint
  const text = async (...names: string[]): Promise<string> =>
    (await readInput(join(folder, ...names), mostTemplateBytes)).toString('utf8')
  if (files.has('chat_template.jinja')) {
    const main = await text('chat_template.jinja')
    if (!files.has('additional_chat_templates')) return main
    const more = templatesIn(join(folder, 'additional_chat_templates'))
    const named = await Promise.all(
      more.map(async (name) => ({
        name: name.slice(0, -6),
        template: await text('additional_chat_templates', name),
      })),
    )
    return more.length === 0 ? main : [{ name: 'default', template: main }, ...named]
  }
  return (await checkpoint.json('chat_template.json'))?.value('chat_template')
}

function templatesIn(folder: string): string[] {
  const names = entriesOf(folder).flatMap(({ name }) => (name.endsWith('.jinja') ? [name] : []))
  if (names.length > mostTemplates)
    throw new FileError(folder, `has more than ${mostTemplates} templates, e.g. ${quote(names[0])}`)
  return names.sort()
}
