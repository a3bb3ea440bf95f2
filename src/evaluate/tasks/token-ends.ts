/** Which token of a text a character belongs to. */
import type { LlamaModel } from '../../llama/index.js'

const space = 0x20

/**
 * For every token the byte of the text at which it ends. Tokenizers leave spaces out beside special tokens and put one before a
 * text, and BOS and EOS stand for nothing in it. Undefined where the tokens do not spell the text in another way, e.g. for one
 * that writes everything in lower case.
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

/** Where a piece ends that stands at `at` or after the spaces there, with or without the space that it begins with. */
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

/** The token that holds byte `at`; their number, if none does. */
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
