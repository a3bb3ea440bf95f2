/**
 * `tokenizer.json`, the tokenizer of Transformers as one file: a normalizer, a pre-tokenizer that splits text into words, a model (BPE or
 * Unigram) that splits words into tokens, and added tokens that are found before all of these.
 */
import type { Checkpoint, Fields } from '../../checkpoint/index.js'
import { FileError } from '../../errors.js'
import { quote } from '../../gguf/index.js'
import { mostTokens } from './tokens.js'

interface AddedToken {
  readonly id: number
  readonly text: string
  readonly special: boolean
}

export interface TokenizerJson {
  readonly path: string
  readonly file: Fields
  readonly type: 'BPE' | 'Unigram'
  readonly model: Fields
  /** By id, without added tokens that are not in the model. */
  readonly tokens: ReadonlyMap<number, string>
  /** Of Unigram, by id: logarithms of probabilities. */
  readonly scores: ReadonlyMap<number, number>
  /** Of BPE, in the order in which they are tried. */
  readonly merges: readonly (readonly [left: string, right: string])[]
  /** By id. */
  readonly added: ReadonlyMap<number, AddedToken>
  /** The largest id of all. */
  readonly highest: number
}

/** Roles that tokens have. */
export const specialNames: readonly string[] = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask']

/** @throws FileError; undefined if there is no such file */
export async function readTokenizerJson(checkpoint: Checkpoint): Promise<TokenizerJson | undefined> {
  const file = await checkpoint.json('tokenizer.json')
  if (!file) return undefined
  const { path } = file
  const model = file.object('model')
  if (!model) throw file.wrong('model', 'an object')
  const type = model.has('type') ? model.string('type') : 'BPE'
  if (type !== 'BPE' && type !== 'Unigram')
    throw new FileError(path, `is a tokenizer of the type ${quote(type)}; quench converts BPE and Unigram`)
  const { tokens, scores } = type === 'BPE' ? readVocabulary(model) : readPieces(model)
  const added = readAdded(file, await checkpoint.json('tokenizer_config.json'), tokens)
  const highest = Math.max(maximum(tokens.keys()), maximum(added.keys()))
  const merges = type === 'BPE' ? readMerges(model, new Set(tokens.values())) : []
  return { path, file, type, model, tokens, scores, merges, added, highest }
}

function maximum(values: Iterable<number>): number {
  let most = -1
  for (const value of values) if (value > most) most = value
  return most
}

function readVocabulary(model: Fields) {
  const vocabulary = model.object('vocab')
  if (!vocabulary) throw model.wrong('vocab', 'an object of tokens and ids')
  const tokens = new Map<number, string>()
  for (const text of Object.keys(vocabulary.values)) {
    const id = vocabulary.values[text]
    checkId(model.path, text, id)
    const twice = tokens.get(id)
    if (twice !== undefined)
      throw new FileError(model.path, `gives the tokens ${quote(twice)} and ${quote(text)} the same id ${id}`)
    tokens.set(id, text)
  }
  return { tokens, scores: new Map<number, number>() }
}

export function checkId(path: string, text: string, id: unknown): asserts id is number {
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= mostTokens)
    throw new FileError(path, `gives the token ${quote(text)} no id from 0 to ${mostTokens - 1}`)
}

function readPieces(model: Fields) {
  const list = model.list('vocab')
  if (!list) throw model.wrong('vocab', 'a list of pieces')
  if (list.length > mostTokens) throw model.wrong('vocab', `a list of at most ${mostTokens} pieces`)
  const tokens = new Map<number, string>()
  const scores = new Map<number, number>()
  for (const [id, entry] of list.entries()) {
    const [text, score] = Array.isArray(entry) ? entry : []
    if (typeof text !== 'string' || typeof score !== 'number')
      throw model.wrong(`vocab[${id}]`, 'a piece and its score')
    tokens.set(id, text)
    scores.set(id, score)
  }
  return { tokens, scores }
}

/** @throws FileError for merges that no tokenizer could do: of nothing, or of or to what is no token */
function readMerges(model: Fields, tokens: ReadonlySet<string>): (readonly [string, string])[] {
  const { path } = model
  return (model.list('merges') ?? []).map((entry, i) => {
    const [left, right, more] =
      typeof entry === 'string' ? entry.split(' ') : Array.isArray(entry) ? entry : []
    const fail = (why: string) => new FileError(path, `has the merge ${i} (${quote(String(entry))}), ${why}`)
    if (typeof left !== 'string' || typeof right !== 'string' || more !== undefined)
      throw fail('which is not a pair of tokens')
    if (left === '' || right === '') throw fail('which merges nothing and would never end')
    for (const token of [left, right, left + right])
      if (!tokens.has(token)) throw fail(`and ${quote(token)} is no token`)
    return [left, right] as const
  })
}

/** Added tokens of both files; what tokenizer_config.json says of a token counts, as in Transformers. */
function readAdded(
  file: Fields,
  config: Fields | undefined,
  tokens: ReadonlyMap<number, string>,
): ReadonlyMap<number, AddedToken> {
  const added = new Map<number, AddedToken>()
  const add = (fields: Fields, id: unknown): void => {
    const text = fields.string('content')
    checkId(fields.path, text, id)
    added.set(id, { id, text, special: fields.value('special') === true })
  }
  for (const token of file.objects('added_tokens')) add(token, token.value('id'))
  const decoder = config?.object('added_tokens_decoder')
  for (const id of Object.keys(decoder?.values ?? {})) {
    const token = decoder?.object(id)
    if (token) add(token, Number(id))
  }
  const special = new Set(config ? specialTexts(config) : [])
  for (const [id, token] of added) if (special.has(token.text)) added.set(id, { ...token, special: true })
  const known = new Set([...added.values()].map(({ text }) => text))
  for (const [id, text] of tokens)
    if (special.has(text) && !known.has(text)) added.set(id, { id, text, special: true })
  return added
}

/** Texts of the tokens that a tokenizer_config.json gives a role. */
export function specialTexts(config: Fields): string[] {
  const roles = specialNames.map((name) => textOf(config.value(`${name}_token`)))
  const others = ['additional_special_tokens', 'extra_special_tokens'].flatMap((key) => {
    const value = config.value(key)
    return typeof value === 'object' ? Object.values(value as object).map(textOf) : []
  })
  return [...roles, ...others].filter((text) => text !== undefined)
}

/** A token in tokenizer_config.json: its text, or an object with it. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value !== 'object' || value === null || !('content' in value)) return undefined
  return typeof value.content === 'string' ? value.content : undefined
}
