/** Maps the characters of a text to tokens. */
import type { LlamaModel } from '../../llama/index.js'

const space = 0x20

/**
 * The byte offset in the text at which each token ends. Tokenizers drop spaces next to special tokens and put one before a
 * text, and BOS and EOS have no text. Undefined if the tokens spell another text, e.g. with a tokenizer that lowercases
 * everything.
 */
export function tokenEnds(model: LlamaModel, tokens: Int32Array, text: Buffer): Int32Array | undefined {
  const pieces = new Map<number, Uint8Array>()
  const ends = new Int32Array(tokens.length)
  let at = 0
  for (const [i, token] of tokens.entries()) {
    const piece = pieces.get(token) ?? model.tokenBytes(token, true)
    pieces.set(token, piece)
    const end = endOf(text, at, piece)
    if (end !== undefined) at = end
    else if (token !== model.bos && token !== model.eos) return undefined
    ends[i] = at
  }
  return ends
}

/** The end of a piece that starts at `at` or after the spaces there, with or without its own leading space. */
function endOf(text: Buffer, at: number, piece: Uint8Array): number | undefined {
  if (matches(text, at, piece)) return at + piece.length
  if (piece[0] === space && matches(text, at, piece.subarray(1))) return at + piece.length - 1
  let next = at
  while (next < text.length && text[next] <= space) next++
  return matches(text, next, piece) ? next + piece.length : undefined
}

function matches(text: Buffer, at: number, piece: Uint8Array): boolean {
  for (let i = 0; i < piece.length; i++) if (text[at + i] !== piece[i]) return false
  return true
}

/** The token that contains byte `at`; the number of tokens if none does. */
export function tokenAt(ends: Int32Array, at: number): number {
  let low = 0
  let high = ends.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ends[middle] > at) high = middle
    else low = middle + 1
  }
  return low
}
