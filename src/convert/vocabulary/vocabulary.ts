/** The tokenizer of a checkpoint as metadata of a GGUF file. */
import { join } from 'node:path'
import { type Checkpoint, type Fields, readSentencePiece } from '../../checkpoint/index.js'
import { FileError } from '../../errors.js'
import type { Conversion } from '../architecture.js'
import { bool, type Entry, string, strings, uint32 } from '../values.js'
import { byteBpeTokens, mergeLines } from './byte-bpe.js'
import { addsSpace, escapedBpeTokens, isEscapedBpe } from './escaped-bpe.js'
import { preTokenizerName } from './pre-tokenizer.js'
import { sentencePieceTokens } from './sentencepiece.js'
import { idKeys, specialEntries } from './special.js'
import { readTokenizerJson } from './tokenizer-json.js'
import { mostTokens, type Token, tokenEntries, tokenType } from './tokens.js'
import { pieceEntries, unigramEntries, unigramTokens } from './unigram.js'

export interface Vocabulary {
  readonly entries: readonly Entry[]
  /** Number of tokens, and of rows that the embedding must have. */
  readonly size: number
  readonly warnings: readonly string[]
}

/** @param config of the text model. @throws FileError for a tokenizer that llama.cpp does not have */
export async function readVocabulary(
  checkpoint: Checkpoint,
  conversion: Conversion,
  config: Fields,
): Promise<Vocabulary> {
  const size = config.count('vocab_size')
  if (size > mostTokens) throw config.wrong('vocab_size', `a whole number from 1 to ${mostTokens}`)
  const kind = conversion.vocabulary
  const {
    entries,
    warnings = [],
    ids,
  } = checkpoint.files.has('tokenizer.model') && kind !== 'gemma4'
    ? await fromPieces(checkpoint, kind, size)
    : await fromJson(checkpoint, kind, size)
  const special = await specialEntries(checkpoint, config, size)
  const all = [...entries, ...special, ...missingIds(special, ids, size), ...last(kind)]
  return { entries: [...all, ...flags(all, checkpoint.files.has('tokenizer.json'))], size, warnings }
}

/**
 * Whether a text gets the tokens that begin and end texts, where the checkpoint's files say nothing and llama.cpp would
 * assume otherwise: Transformers adds none unless tokenizer.json says so, and a SentencePiece tokenizer without it begins texts.
 */
function flags(entries: readonly Entry[], hasJson: boolean): Entry[] {
  const found = new Map(entries)
  const model = found.get('tokenizer.ggml.model')?.value
  const pre = found.get('tokenizer.ggml.pre')?.value
  const begins = model === 'llama' || (model === 'gpt2' && (pre === 'llama-bpe' || pre === 'tekken'))
  const assumed = { bos: begins, eos: model === 't5' }
  const wanted = { bos: !hasJson && model !== 'gpt2', eos: false }
  return (['bos', 'eos'] as const).flatMap((role): Entry[] => {
    const key = `tokenizer.ggml.add_${role}_token`
    return found.has(key) || assumed[role] === wanted[role] ? [] : [[key, bool(wanted[role])]]
  })
}

interface Part {
  readonly entries: readonly Entry[]
  readonly warnings?: readonly string[]
  /** Special tokens that the model of the tokenizer itself names, by role. */
  readonly ids?: Readonly<Record<string, number>>
}

/** Ids of the tokenizer's own that no other file has said. */
function missingIds(
  special: readonly Entry[],
  ids: Readonly<Record<string, number>> = {},
  size: number,
): Entry[] {
  const found = new Set(special.map(([key]) => key))
  return Object.entries(ids).flatMap(([role, id]): Entry[] => {
    const key = `tokenizer.ggml.${idKeys[role]}`
    return found.has(key) || id < 0 || id >= size ? [] : [[key, uint32(id)]]
  })
}

async function fromPieces(
  checkpoint: Checkpoint,
  kind: Conversion['vocabulary'],
  size: number,
): Promise<Part> {
  const model = await readSentencePiece(join(checkpoint.folder, 'tokenizer.model'))
  const tokens = await sentencePieceTokens(checkpoint, model, size)
  if (model.type === 'unigram')
    return {
      entries: [...begin('t5', 'default'), ...tokenEntries(tokens, true), ...pieceEntries(model)],
      warnings: byteWarning(model.path, tokens),
      ids: model.ids,
    }
  const entries = [
    ...begin('llama', 'default'),
    ...tokenEntries(tokens, true),
    ...(await prefix(checkpoint, kind)),
  ]
  const { unk, bos, eos } = model.ids
  // What llama.cpp takes them for is not written.
  return unk === 0 && bos === 1 && eos === 2 ? { entries } : { entries, ids: model.ids }
}

async function fromJson(checkpoint: Checkpoint, kind: Conversion['vocabulary'], size: number): Promise<Part> {
  const tokenizer = await readTokenizerJson(checkpoint)
  if (!tokenizer) throw new FileError(checkpoint.folder, noTokenizer(checkpoint))
  const merges = (): Entry => ['tokenizer.ggml.merges', strings(mergeLines(tokenizer))]
  if (tokenizer.type === 'Unigram') {
    const tokens = unigramTokens(tokenizer, size)
    return {
      entries: [...begin('t5', 'default'), ...tokenEntries(tokens, true), ...unigramEntries(tokenizer)],
      warnings: byteWarning(tokenizer.path, tokens),
      ids: { unk: tokenizer.model.count('unk_id', 0, 0) },
    }
  }
  if (!isEscapedBpe(tokenizer)) {
    const tokens = byteBpeTokens(tokenizer, size)
    return {
      entries: [
        ...begin('gpt2', preTokenizerName(tokenizer)),
        ...tokenEntries(tokens, false),
        merges(),
        ...(await prefix(checkpoint, kind)),
      ],
    }
  }
  if (kind === 'gemma4') {
    const tokens = (await escapedBpeTokens(checkpoint, tokenizer, size, false)).map(visible)
    return { entries: [['tokenizer.ggml.model', string('gemma4')], ...tokenEntries(tokens, true), merges()] }
  }
  // Gemma 3 without its SentencePiece model is run by its merges, as Gemma 4 is.
  if (kind === 'gemma3')
    return {
      entries: [...begin('gpt2', 'gemma4'), ...tokenEntries(byteBpeTokens(tokenizer, size), false), merges()],
    }
  const tokens = await escapedBpeTokens(checkpoint, tokenizer, size, true)
  return {
    entries: [
      ...begin('llama', 'default'),
      ...tokenEntries(tokens, true),
      // llama.cpp adds it unless it is told not to.
      ...(addsSpace(tokenizer) ? [] : [['tokenizer.ggml.add_space_prefix', bool(false)] as const]),
      ...(await prefix(checkpoint, kind)),
    ],
  }
}

const begin = (model: string, pre: string): Entry[] => [
  ['tokenizer.ggml.model', string(model)],
  ['tokenizer.ggml.pre', string(pre)],
]

/** Whether a space is put before texts, where tokenizer_config.json says so. */
async function prefix(checkpoint: Checkpoint, kind: Conversion['vocabulary']): Promise<Entry[]> {
  if (kind === 'gemma3') return [['tokenizer.ggml.add_space_prefix', bool(false)]]
  if (kind !== 'llama') return []
  const adds = (await checkpoint.json('tokenizer_config.json'))?.value('add_prefix_space')
  return typeof adds === 'boolean' ? [['tokenizer.ggml.add_space_prefix', bool(adds)]] : []
}

/** What Gemma 4 has whatever its files say. */
const last = (kind: Conversion['vocabulary']): Entry[] =>
  kind === 'gemma4'
    ? [
        ['tokenizer.ggml.add_space_prefix', bool(false)],
        ['tokenizer.ggml.add_bos_token', bool(true)],
      ]
    : []

/** Tokens of Gemma 4's conversations that a reader of its output needs to see. */
const seen = new Set([
  ...['<|channel>', '<channel|>', '<|tool_call>', '<tool_call|>'],
  ...['<|tool_response>', '<tool_response|>', '<|"|>'],
])
const visible = (token: Token): Token =>
  seen.has(token.text) ? { ...token, type: tokenType.userDefined } : token

const byteWarning = (path: string, tokens: readonly Token[]): string[] =>
  tokens.some(({ type }) => type === tokenType.byte)
    ? [
        `${path}: llama.cpp turns characters outside a Unigram vocabulary into the unknown token, not into bytes`,
      ]
    : []

function noTokenizer({ files }: Checkpoint): string {
  if (files.has('tekken.json')) return 'has only a tekken.json as its tokenizer; get the tokenizer.json too'
  return files.has('vocab.json')
    ? "has only the parts of a slow tokenizer; save it with Transformers' fast tokenizer, which writes tokenizer.json"
    : 'has no tokenizer.json and no tokenizer.model; download them'
}
