/**
 * Tokenizers for generated checkpoints, trained here on a text: byte-level BPE, BPE as SentencePiece makes it, and Unigram, as
 * tokenizer.json and as tokenizer.model.
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { learnBpe } from '../../scripts/model/bpe.js'

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const rest = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const cased = (ending: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+${ending}|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*${ending}|`

const split = (pattern: string) => [
  { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
  { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
]
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }

/** Ways of splitting, as the models' own tokenizer.json have them, with llama.cpp's names. */
const splittings = {
  'llama-bpe': {
    steps: split(
      `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${rest}`,
    ),
    wholeWords: true,
  },
  qwen2: {
    steps: split(
      `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${rest}`,
    ),
    wholeWords: false,
  },
  tekken: {
    steps: split(`${cased('')}\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${rest}`),
    wholeWords: true,
  },
  'gpt-4o': {
    steps: split(`${cased(`${contractions}?`)}\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${rest}`),
    wholeWords: false,
  },
  smollm: { steps: [{ type: 'Digits', individual_digits: true }, byteLevel], wholeWords: false },
  'gpt-2': { steps: [byteLevel], wholeWords: false },
} as const

export type Splitting = keyof typeof splittings

const addedToken = (id: number, content: string, special = true) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special,
})

const template = (bos: string, id: number) => ({
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: bos, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [
    { SpecialToken: { id: bos, type_id: 0 } },
    { Sequence: { id: 'A', type_id: 0 } },
    { SpecialToken: { id: bos, type_id: 1 } },
    { Sequence: { id: 'B', type_id: 1 } },
  ],
  special_tokens: { [bos]: { id: bos, ids: [id], tokens: [bos] } },
})

/** Files of a tokenizer by name, and what a checkpoint needs to know of it. */
export interface TokenizerFiles {
  readonly files: Readonly<Record<string, unknown>>
  readonly size: number
}

/** Byte-level BPE with a special token that begins texts (unless `bare`), one that ends them, and an added word. */
export function byteLevelBpe(text: string, splitting: Splitting, size = 400, bare = false): TokenizerFiles {
  const bpe = learnBpe([text], size)
  const vocabulary = Object.fromEntries(bpe.tokens.slice(0, -1).map((token, id) => [token, id]))
  const merges = bpe.metadata().find(([key]) => key === 'tokenizer.ggml.merges')?.[1].value as string[]
  const { steps, wholeWords } = splittings[splitting]
  const n = size - 1
  // What the class of Qwen's tokenizer would add if it were not there.
  const [bos, eos] = ['<|begin|>', '<|endoftext|>']
  const added = [addedToken(n, bos), addedToken(n + 1, eos), addedToken(n + 2, '<tool_call>', false)]
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: splitting === 'qwen2' ? { type: 'NFC' } : null,
    pre_tokenizer: steps.length === 1 ? steps[0] : { type: 'Sequence', pretokenizers: steps },
    post_processor: bare
      ? { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true }
      : template(bos, n),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: wholeWords,
      vocab: vocabulary,
      merges: merges.map((merge) => merge.split(' ')),
    },
  }
  const settings = {
    ...(!bare && { bos_token: bos }),
    eos_token: eos,
    tokenizer_class: 'PreTrainedTokenizerFast',
    chat_template: '{% for m in messages %}{{ m.content }}{% endfor %}',
    model_max_length: 1024,
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [id, token])),
  }
  return { files: { 'tokenizer.json': tokenizer, 'tokenizer_config.json': settings }, size: n + 3 }
}

interface Piece {
  readonly text: string
  readonly score: number
  readonly type: number
}

const bytePieces: readonly Piece[] = Array.from({ length: 256 }, (_, byte) => ({
  text: `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  score: 0,
  type: 6,
}))
const control: readonly Piece[] = [
  { text: '<unk>', score: 0, type: 2 },
  { text: '<s>', score: 0, type: 3 },
  { text: '</s>', score: 0, type: 3 },
]

/** Counts of the words of a text, each with the space before it. */
function words(text: string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const [word] of text.matchAll(/ ?[^\s]+/g)) {
    const key = word.replaceAll(' ', '▁')
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return counts
}

/** Pieces of a SentencePiece BPE: control and byte pieces, merged ones by rank, and characters. */
function bpePieces(text: string, merged: number): Piece[] {
  const counted = [...words(text)].map(([word, count]) => ({ parts: [...word], count }))
  const characters = new Set(counted.flatMap(({ parts }) => parts))
  const found = new Set<string>()
  while (found.size < merged) {
    const pairs = new Map<string, number>()
    for (const { parts, count } of counted)
      for (let i = 0; i + 1 < parts.length; i++) {
        const key = parts[i] + parts[i + 1]
        pairs.set(key, (pairs.get(key) ?? 0) + count)
      }
    const [best] = [...pairs].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    if (!best) break
    found.add(best[0])
    for (const word of counted)
      for (let i = 0; i + 1 < word.parts.length; i++)
        if (word.parts[i] + word.parts[i + 1] === best[0]) word.parts.splice(i, 2, best[0])
  }
  const normal = [...found, ...[...characters, '▁'].filter((each) => !found.has(each))]
  const pieces = [...new Set(normal)].map((each, rank) => ({ text: each, score: -rank, type: 1 }))
  return [...control, ...bytePieces, ...pieces]
}

/** Merges as Transformers' conversion makes them: every split of a piece into two, by the rank of the piece. */
function allMerges(pieces: readonly Piece[]): string[][] {
  const normal = pieces.filter(({ type }) => type === 1)
  const ids = new Map(normal.map(({ text }, id) => [text, id]))
  return normal.flatMap(({ text }) => {
    const characters = [...text]
    const splits = characters.slice(1).map((_, i) => {
      return [characters.slice(0, i + 1).join(''), characters.slice(i + 1).join('')]
    })
    return splits
      .filter(([left, right]) => ids.has(left) && ids.has(right))
      .sort(
        (a, b) => (ids.get(a[0]) ?? 0) - (ids.get(b[0]) ?? 0) || (ids.get(a[1]) ?? 0) - (ids.get(b[1]) ?? 0),
      )
  })
}

/** Pieces of a Unigram model: characters and frequent parts of words, by the logarithm of their share. */
function unigramPieces(text: string, size: number): Piece[] {
  const counts = new Map<string, number>()
  for (const [word, count] of words(text)) {
    const characters = [...word]
    for (let start = 0; start < characters.length; start++)
      for (let length = 1; length <= 8 && start + length <= characters.length; length++) {
        const part = characters.slice(start, start + length).join('')
        counts.set(part, (counts.get(part) ?? 0) + count)
      }
  }
  const single = [...counts].filter(([part]) => [...part].length === 1)
  const longer = [...counts].filter(([part]) => [...part].length > 1)
  longer.sort((a, b) => b[1] * b[0].length - a[1] * a[0].length || (a[0] < b[0] ? -1 : 1))
  const kept = [...single, ...longer.slice(0, size)]
  const total = kept.reduce((sum, [, count]) => sum + count, 0)
  // A score of its own for each, so that no two splits are equally good, rounded as SentencePiece stores it.
  const score = (count: number, i: number) => Math.fround(Math.log(count / total) - i * 1e-5)
  return [...control, ...kept.map(([part, count], i) => ({ text: part, score: score(count, i), type: 1 }))]
}

/** A tokenizer.model. */
function sentencePieceFile(pieces: readonly Piece[], type: 'bpe' | 'unigram', addsSpace = true): Uint8Array {
  const writer = new BinaryWriter()
  for (const { text, score, type: kind } of pieces) {
    writer.tag(1, WireType.LengthDelimited).fork()
    writer.tag(1, WireType.LengthDelimited).string(text).tag(2, WireType.Bit32).float(score)
    writer.tag(3, WireType.Varint).int32(kind).join()
  }
  const flag = (field: number, value: boolean) => writer.tag(field, WireType.Varint).bool(value)
  writer.tag(2, WireType.LengthDelimited).fork()
  writer.tag(3, WireType.Varint).int32(type === 'bpe' ? 2 : 1)
  flag(35, type === 'bpe')
  writer.join()
  writer.tag(3, WireType.LengthDelimited).fork()
  writer.tag(1, WireType.LengthDelimited).string('identity')
  flag(3, addsSpace)
  flag(4, false)
  flag(5, true)
  writer.join()
  return writer.finish()
}

const spacedSettings = {
  bos_token: '<s>',
  eos_token: '</s>',
  unk_token: '<unk>',
  add_bos_token: true,
  add_eos_token: false,
  tokenizer_class: 'LlamaTokenizerFast',
  added_tokens_decoder: Object.fromEntries(
    control.map(({ text }, id) => [id, { ...addedToken(id, text), id: undefined }]),
  ),
}

/** BPE of the kind of Llama 2: as tokenizer.json, and as tokenizer.model if asked for. @param prefix a space before texts */
export function spacedBpe(
  text: string,
  { merged = 150, model = false, prefix = true, json = true } = {},
): TokenizerFiles {
  const pieces = bpePieces(text, merged)
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  const tokenizer = {
    version: '1.0',
    added_tokens: control.map(({ text: token }, id) => addedToken(id, token)),
    normalizer: prefix
      ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replace] }
      : replace,
    pre_tokenizer: null,
    post_processor: template('<s>', 1),
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(pieces.map(({ text: token }, id) => [token, id])),
      merges: allMerges(pieces),
    },
  }
  const files = {
    ...(json && { 'tokenizer.json': tokenizer }),
    'tokenizer_config.json': spacedSettings,
    ...(model && { 'tokenizer.model': sentencePieceFile(pieces, 'bpe', prefix) }),
  }
  return { files, size: pieces.length }
}

/** Unigram, as tokenizer.json or as tokenizer.model. */
export function unigram(text: string, { size = 300, model = false } = {}): TokenizerFiles {
  const pieces = unigramPieces(text, size)
  const tokenizer = {
    version: '1.0',
    added_tokens: control.map(({ text: token }, id) => addedToken(id, token)),
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    post_processor: template('<s>', 1),
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    model: {
      type: 'Unigram',
      unk_id: 0,
      vocab: pieces.map(({ text: token, score }) => [token, score]),
      byte_fallback: false,
    },
  }
  const files = model
    ? { 'tokenizer.model': sentencePieceFile(pieces, 'unigram'), 'tokenizer_config.json': spacedSettings }
    : { 'tokenizer.json': tokenizer, 'tokenizer_config.json': spacedSettings }
  return { files, size: pieces.length }
}
