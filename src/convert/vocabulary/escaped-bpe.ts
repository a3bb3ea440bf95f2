/**
 * BPE of Llama 2, Mistral and Gemma as tokenizer.json has it: text is not cut into words, spaces are `▁`, and what is no token becomes
 * tokens of its bytes. It was made from a SentencePiece model, where the token with the highest score is merged first.
 */
import type { Checkpoint, Fields } from '../../checkpoint/index.js'
import { specialTexts, type TokenizerJson } from './tokenizer-json.js'
import { checkFits, padding, type Token, tokenType } from './tokens.js'

/** Whether a tokenizer is of this kind, and not byte-level. */
export const isEscapedBpe = ({ type, model }: TokenizerJson): boolean =>
  type === 'BPE' && model.value('byte_fallback') === true

const unscored = -1000

/**
 * One token for each row of the embedding.
 * @param scored gives tokens the score that SentencePiece's way of merging needs: the order of the merges that lead to them. llama.cpp's
 * converter gives all the same, by which text is split otherwise than by Transformers.
 */
export async function escapedBpeTokens(
  checkpoint: Checkpoint,
  tokenizer: TokenizerJson,
  size: number,
  scored: boolean,
): Promise<Token[]> {
  const { path, tokens, added, merges, highest } = tokenizer
  checkFits(path, highest, size)
  const settings = await checkpoint.json('tokenizer_config.json')
  const special = new Set(settings ? specialTexts(settings) : [])
  const ranks = new Map<string, number>()
  if (scored)
    for (const [rank, [left, right]] of merges.entries())
      if (!ranks.has(left + right)) ranks.set(left + right, rank)
  return Array.from({ length: size }, (_, id): Token => {
    const base = tokens.get(id)
    const text = base ?? added.get(id)?.text
    if (text === undefined) return padding(id, unscored)
    const rank = ranks.get(text)
    const score = rank === undefined ? unscored - merges.length * Number(scored) : -rank
    if (/^<0x[0-9A-Fa-f]{2}>$/.test(text)) return { text, type: tokenType.byte, score }
    if (special.has(text) || added.get(id)?.special) return { text, type: tokenType.control, score }
    return { text, type: base === undefined ? tokenType.userDefined : tokenType.normal, score }
  })
}

/** Whether a text gets a space before it. */
export function addsSpace({ file }: TokenizerJson): boolean {
  const flatten = (fields: Fields | undefined, key: string): readonly Fields[] =>
    fields === undefined ? [] : fields.has(key) ? fields.objects(key) : [fields]
  const prepends = flatten(file.object('normalizer'), 'normalizers').some(
    (each) => each.value('type') === 'Prepend',
  )
  const metaspace = flatten(file.object('pre_tokenizer'), 'pretokenizers').find(
    (each) => each.value('type') === 'Metaspace',
  )
  if (!metaspace) return prepends
  return (
    prepends || metaspace.value('prepend_scheme') !== 'never' || metaspace.value('add_prefix_space') === true
  )
}
