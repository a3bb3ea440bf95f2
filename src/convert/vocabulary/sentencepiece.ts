/** Vocabularies of `tokenizer.model`, with the tokens that were added to them later. */
import { type Checkpoint, pieceType, type SentencePieceModel } from '../../checkpoint/index.js'
import { checkId } from './tokenizer-json.js'
import { looksSpecial, padding, type Token, tokenType } from './tokens.js'

/** Scores of tokens that SentencePiece does not know. */
const addedScore = -1000
const paddingScore = -10000

/** One token for each row of the embedding. Pieces and added tokens beyond it are left out, as llama.cpp's converter does. */
export async function sentencePieceTokens(
  checkpoint: Checkpoint,
  model: SentencePieceModel,
  size: number,
): Promise<Token[]> {
  const tokens = Array.from({ length: size }, (_, id): Token => {
    const piece = model.pieces[id]
    if (!piece) return padding(id, paddingScore)
    // A user-defined piece is found by its score like any other unless it is among the added tokens.
    const type = piece.type === pieceType.userDefined ? tokenType.normal : piece.type
    return { text: piece.text, type, score: piece.score }
  })
  const set = (id: number, token: Token): void => {
    if (id < size) tokens[id] = token
  }
  const added = await checkpoint.json('added_tokens.json')
  for (const text of Object.keys(added?.values ?? {})) {
    const id = added?.value(text)
    checkId(added?.path ?? '', text, id)
    set(id, { text, type: tokenType.userDefined, score: addedScore })
  }
  const decoder = (await checkpoint.json('tokenizer_config.json'))?.object('added_tokens_decoder')
  for (const key of Object.keys(decoder?.values ?? {})) {
    const token = decoder?.object(key)
    if (!token) continue
    const text = token.string('content')
    const id = Number(key)
    checkId(token.path, text, id)
    if (token.value('special') === true || looksSpecial(text))
      set(id, { text, type: tokenType.control, score: addedScore })
    else set(id, { text: text.replaceAll('\u2581', ' '), type: tokenType.userDefined, score: addedScore })
  }
  return tokens
}
