/** Unigram: the split of a text with the highest sum of scores. llama.cpp calls it `t5`. */
import type { Fields, SentencePieceModel } from '../../checkpoint/index.js'
import { FileError } from '../../errors.js'
import { quote } from '../../gguf/index.js'
import { bool, type Entry } from '../values.js'
import { addsSpace } from './escaped-bpe.js'
import type { TokenizerJson } from './tokenizer-json.js'
import { checkFits, looksSpecial, padding, type Token, tokenType } from './tokens.js'

const isByte = (text: string): boolean => /^<0x[0-9A-Fa-f]{2}>$/.test(text)

/** One token for each row of the embedding. @throws FileError */
export function unigramTokens(tokenizer: TokenizerJson, size: number): Token[] {
  const { path, tokens, scores, added, model, highest } = tokenizer
  checkFits(path, highest, size)
  const unknown = model.has('unk_id') ? model.count('unk_id', undefined, 0) : undefined
  return Array.from({ length: size }, (_, id): Token => {
    const own = added.get(id)
    const text = own?.text ?? tokens.get(id)
    const score = scores.get(id) ?? 0
    if (text === undefined) return padding(id, 0)
    if (id === unknown) return { text, type: tokenType.unknown, score }
    if (isByte(text)) return { text, type: tokenType.byte, score }
    if (!own) return { text, type: tokenType.normal, score }
    if (own.special || looksSpecial(text)) return { text, type: tokenType.control, score }
    return { text: text.replaceAll('\u2581', ' '), type: tokenType.userDefined, score }
  })
}

/** How text is prepared, by tokenizer.json. @throws FileError for what llama.cpp does not do */
export function unigramEntries(tokenizer: TokenizerJson): Entry[] {
  const normalizer = tokenizer.file.object('normalizer')
  const steps = !normalizer
    ? []
    : normalizer.has('normalizers')
      ? normalizer.objects('normalizers')
      : [normalizer]
  let charsmap: Uint8Array = new Uint8Array(0)
  let merges = false
  for (const step of steps) {
    const type = step.string('type')
    if (type === 'Precompiled') charsmap = decodeCharsmap(step)
    else if (type === 'Replace' && isSpaces(step)) merges = true
    else if (type !== 'Strip')
      throw new FileError(
        tokenizer.path,
        `normalizes text by ${quote(type)}, which llama.cpp does not do for a Unigram tokenizer`,
      )
  }
  return preparation(charsmap, addsSpace(tokenizer), merges)
}

/** How text is prepared, by a SentencePiece model. */
export const pieceEntries = ({ charsmap, addsSpace, mergesSpaces }: SentencePieceModel): Entry[] =>
  preparation(charsmap, addsSpace, mergesSpaces)

function preparation(charsmap: Uint8Array, space: boolean, merges: boolean): Entry[] {
  return [
    ['tokenizer.ggml.add_space_prefix', bool(space)],
    ['tokenizer.ggml.remove_extra_whitespaces', bool(merges)],
    ...(charsmap.length > 0
      ? [
          [
            'tokenizer.ggml.precompiled_charsmap',
            { type: 'array', itemType: 'uint8', value: charsmap },
          ] as const,
        ]
      : []),
  ]
}

/** Two spaces or more to one. */
function isSpaces(step: Fields): boolean {
  const pattern = step.object('pattern')
  const content = step.value('content')
  return (
    (content === ' ' || content === '\u2581') &&
    [' {2,}', '\u2581{2,}'].includes(String(pattern?.value('Regex')))
  )
}

function decodeCharsmap(step: Fields): Uint8Array {
  const text = step.string('precompiled_charsmap')
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw step.wrong('precompiled_charsmap', 'in base64')
  return Uint8Array.from(Buffer.from(text, 'base64'))
}
