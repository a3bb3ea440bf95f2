/** Byte-level BPE, as in GPT-2, Llama 3 and Qwen. */
import type { TokenizerJson } from './tokenizer-json.js'
import { checkFits, looksSpecial, padding, type Token, tokenType } from './tokens.js'

/** The tokens of a byte-level BPE, one for each row of the embedding. @throws FileError */
export function byteBpeTokens(tokenizer: TokenizerJson, size: number): Token[] {
  const { path, tokens, added, highest } = tokenizer
  checkFits(path, highest, size)
  return Array.from({ length: size }, (_, id): Token => {
    const own = added.get(id)
    if (own) {
      if (own.special || looksSpecial(own.text)) return { text: own.text, type: tokenType.control, score: 0 }
      // llama.cpp looks for them in text in which spaces are not escaped.
      return { text: own.text.replaceAll('\u2581', ' '), type: tokenType.userDefined, score: 0 }
    }
    const text = tokens.get(id)
    return text === undefined ? padding(id, 0) : { text, type: tokenType.normal, score: 0 }
  })
}

/** Merges as GGUF keeps them. A space within a token would end it, so it is written as in GPT-2's alphabet of bytes. */
export const mergeLines = ({ merges }: TokenizerJson): string[] =>
  merges.map((pair) => pair.map((part) => part.replaceAll(' ', '\u0120')).join(' '))
