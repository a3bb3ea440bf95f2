/**
 * The shipped model's tokenizer: byte-level BPE as in GPT-2 (Radford et al. 2019; merges after Sennrich et al., arXiv
 * 1508.07909), learned from the training text every time, since that takes seconds and is deterministic.
 *
 * Ids: 0..255 are the bytes themselves, then the merged tokens in the order they were learned; the last id is `<|endoftext|>`,
 * which begins and ends documents. A GGUF file stores tokens as strings in GPT-2's byte alphabet, in which every byte is one
 * printable character (a space is `Ġ`).
 *
 * Text is first split into words by GPT-2's pattern; merges never cross a split. llama.cpp has the same pattern under the
 * pre-tokenizer name `gpt-2`. Its white space is Unicode's White_Space, from which `\s` differs in U+0085 and U+FEFF. Only
 * letters and digits newer than its tables, about Unicode 15, can be split differently there.
 */
import type { GgufValue } from '../../src/gguf/index.js'

export const END_OF_TEXT = '<|endoftext|>'

const WORD =
  /'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu

/** llama_token_type: an ordinary token, and one that ordinary text never produces. */
const NORMAL = 1
const CONTROL = 3

/** Pairs of ids are map keys `left * PAIR + right`, so ids stay below this. */
const PAIR = 65536

/** GPT-2's printable character of each byte: the byte itself if it is visible in Latin-1, else the next from U+0100 on. */
export const byteAlphabet: readonly string[] = (() => {
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => {
    const visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
    return String.fromCharCode(visible ? byte : next++)
  })
})()

/** The result of merging a pair of ids; lower ranks were learned first and are merged first. */
interface Merge {
  readonly rank: number
  readonly id: number
}

/** A vocabulary with its merges, made by `learnBpe`. */
export class Bpe {
  /** The id of `<|endoftext|>`, the last one. */
  readonly endOfText: number
  readonly #merges: ReadonlyMap<number, Merge>
  readonly #cache = new Map<string, readonly number[]>()

  /**
   * @param tokens the token strings by id, in the byte alphabet
   * @param merges by pair of ids (key `left * 65536 + right`), in order of rank
   */
  constructor(
    readonly tokens: readonly string[],
    merges: ReadonlyMap<number, Merge>,
  ) {
    this.#merges = merges
    this.endOfText = tokens.length - 1
  }

  /** The tokens of a text, without any `<|endoftext|>`; that string within the text is ordinary text. */
  encode(text: string): Int32Array {
    const ids: number[] = []
    for (const [word] of text.matchAll(WORD)) {
      let wordIds = this.#cache.get(word)
      if (!wordIds) {
        wordIds = this.#encodeWord(word)
        this.#cache.set(word, wordIds)
      }
      for (const id of wordIds) ids.push(id)
    }
    return Int32Array.from(ids)
  }

  /** Merges the adjacent pair that was learned first, the leftmost on ties, until no learned pair remains. */
  #encodeWord(word: string): number[] {
    const ids = [...Buffer.from(word)]
    for (;;) {
      let at = -1
      let best = { rank: Number.POSITIVE_INFINITY, id: -1 }
      for (let i = 0; i + 1 < ids.length; i++) {
        const merge = this.#merges.get(ids[i] * PAIR + ids[i + 1])
        if (merge && merge.rank < best.rank) {
          best = merge
          at = i
        }
      }
      if (at < 0) return ids
      ids.splice(at, 2, best.id)
    }
  }

  /** The bytes of tokens as text; `<|endoftext|>` is omitted. Bytes that are not UTF-8 become U+FFFD. */
  decode(ids: Iterable<number>): string {
    const bytes: number[] = []
    for (const id of ids) {
      if (id === this.endOfText) continue
      for (const character of this.tokens[id]) bytes.push(byteAlphabet.indexOf(character))
    }
    return Buffer.from(bytes).toString('utf8')
  }

  /** The metadata with which llama.cpp tokenizes like `encode`. It begins a text with `<|endoftext|>`. */
  metadata(): [string, GgufValue][] {
    const { tokens, endOfText } = this
    const merges = [...this.#merges.keys()].map(
      (pair) => `${tokens[Math.floor(pair / PAIR)]} ${tokens[pair % PAIR]}`,
    )
    const types = Int32Array.from(tokens, (_, id) => (id === endOfText ? CONTROL : NORMAL))
    return [
      ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
      ['tokenizer.ggml.pre', { type: 'string', value: 'gpt-2' }],
      ['tokenizer.ggml.tokens', { type: 'array', itemType: 'string', value: [...tokens] }],
      ['tokenizer.ggml.token_type', { type: 'array', itemType: 'int32', value: types }],
      ['tokenizer.ggml.merges', { type: 'array', itemType: 'string', value: merges }],
      ['tokenizer.ggml.bos_token_id', { type: 'uint32', value: endOfText }],
      ['tokenizer.ggml.eos_token_id', { type: 'uint32', value: endOfText }],
      ['tokenizer.ggml.padding_token_id', { type: 'uint32', value: endOfText }],
      ['tokenizer.ggml.add_bos_token', { type: 'bool', value: true }],
      ['tokenizer.ggml.add_eos_token', { type: 'bool', value: false }],
      ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: false }],
    ]
  }
}

/**
 * Learns a vocabulary of exactly `size` tokens: 256 bytes, `size - 257` merged tokens and `<|endoftext|>`. Each step merges
 * the most frequent adjacent pair; ties go to the smaller left, then right id. Each distinct word is kept once with its count,
 * and a merge touches only the words that contain the pair.
 */
export function learnBpe(texts: Iterable<string>, size: number): Bpe {
  if (!(size >= 257 && size < PAIR))
    throw new RangeError(`a byte-level vocabulary has 257 to 65535 tokens, not ${size}`)
  const counts = new Map<string, number>()
  for (const text of texts) {
    for (const [word] of text.matchAll(WORD)) counts.set(word, (counts.get(word) ?? 0) + 1)
  }
  const words = [...counts].map(([word, count]) => ({ ids: [...Buffer.from(word)], count }))

  // For each pair of ids: its number of occurrences, and the words that contain or once contained it.
  const pairs = new Map<number, { count: number; words: Set<(typeof words)[number]> }>()
  const tally = (word: (typeof words)[number], sign: 1 | -1): void => {
    for (let i = 0; i + 1 < word.ids.length; i++) {
      const key = word.ids[i] * PAIR + word.ids[i + 1]
      let pair = pairs.get(key)
      if (!pair) {
        pair = { count: 0, words: new Set() }
        pairs.set(key, pair)
      }
      pair.count += sign * word.count
      if (sign > 0) pair.words.add(word)
    }
  }
  for (const word of words) tally(word, 1)

  const tokens = [...byteAlphabet]
  const idOf = new Map(tokens.map((token, id) => [token, id]))
  const merges = new Map<number, Merge>()
  while (tokens.length < size - 1) {
    let best = -1
    let bestCount = 0
    for (const [key, { count }] of pairs) {
      if (count > bestCount || (count === bestCount && count > 0 && key < best)) {
        best = key
        bestCount = count
      }
    }
    if (best < 0) throw new RangeError(`the text has pairs for only ${tokens.length + 1} of ${size} tokens`)
    const left = Math.floor(best / PAIR)
    const right = best % PAIR

    // Two pairs may spell the same token (a+bc, ab+c): the vocabulary has it once.
    const token = tokens[left] + tokens[right]
    const id = idOf.get(token) ?? tokens.push(token) - 1
    idOf.set(token, id)
    if (!merges.has(best)) merges.set(best, { rank: merges.size, id })

    for (const word of pairs.get(best)!.words) {
      tally(word, -1)
      word.ids = mergePair(word.ids, left, right, id)
      tally(word, 1)
    }
    pairs.delete(best)
  }
  return new Bpe([...tokens, END_OF_TEXT], merges)
}

/** `ids` with every `left, right` replaced by `id`, from left to right. */
function mergePair(ids: readonly number[], left: number, right: number, id: number): number[] {
  const merged: number[] = []
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === left && ids[i + 1] === right) {
      merged.push(id)
      i++
    } else merged.push(ids[i])
  }
  return merged
}
