/** The tokens of a vocabulary as GGUF files keep them. */
import { FileError } from '../../errors.js'
import { type Entry, float32s, int32s, strings } from '../values.js'

/** llama_token_type */
export const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

export interface Token {
  readonly text: string
  readonly type: number
  readonly score: number
}

/** Vocabularies beyond this are no vocabularies. */
export const mostTokens = 2 ** 22

/** A token of the embedding that stands for no text. */
export const padding = (id: number, score: number): Token => ({
  text: `[PAD${id}]`,
  type: tokenType.unused,
  score,
})

/** Metadata of tokens. @param scored whether their scores mean something */
export function tokenEntries(tokens: readonly Token[], scored: boolean): Entry[] {
  return [
    ['tokenizer.ggml.tokens', strings(tokens.map(({ text }) => text))],
    ...(scored ? [['tokenizer.ggml.scores', float32s(tokens.map(({ score }) => score))] as const] : []),
    ['tokenizer.ggml.token_type', int32s(tokens.map(({ type }) => type))],
  ]
}

/** @throws FileError for more tokens than the embedding has rows */
export function checkFits(path: string, highest: number, size: number): void {
  if (highest >= size)
    throw new FileError(path, `has a token with the id ${highest}, and the model has rows for ${size} tokens`)
}

/** Tokens that are special, whatever their files say. */
export const looksSpecial = (text: string): boolean =>
  ['<pad>', '<mask>', '<2mass>', '[@BOS@]'].includes(text) ||
  (text.startsWith('<|') && text.endsWith('|>')) ||
  (text.startsWith('<｜') && text.endsWith('｜>')) ||
  (text.startsWith('<unused') && text.endsWith('>'))
