/**
 * Training text that the model writes itself (data-free distillation, LLM-QAT, arXiv 2305.17888): sampled at
 * temperature 1 through libllama, so that it has the distribution the model itself believes in; starts.ts says how texts
 * begin. Of a model with a chat template every second text is a conversation whose user the model plays too (as in Magpie,
 * arXiv 2406.08464).
 *
 * Large models write with a copy of themselves at Q8_0: its predictions are almost the same (KL divergence of some 0.001), the
 * processor is several times faster at it, and what is learned from stays the full precision. The copy lies in the cache
 * folder until it is read.
 *
 * The result is cached by all that it depends on (model, settings, number of threads, release of llama.cpp), in parts of at most
 * 32,768 tokens or so (text-cache.ts).
 */
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { FileError, QuenchError } from '../errors.js'
import { discardTemporary, temporaryPath } from '../files.js'
import { humanBytes } from '../format.js'
import { LlamaModel, PACKAGE_VERSION, quantizeModel, sampleSequences, sideBySide } from '../llama/index.js'
import type { Lock } from '../locks.js'
import { threadCount } from '../threads.js'
import { type Conversation, conversationOf } from './conversation.js'
import { startOf } from './starts.js'
import { cachedBytes, TextCache } from './text-cache.js'

export interface SelfWrittenOptions {
  readonly sequences: number
  /** Tokens of each. */
  readonly length: number
  readonly seed: number
  /** Identifies the model's contents, for the cache. */
  readonly fingerprint: string
  /** Bytes that the process may take. Default: any. */
  readonly memory?: number
  /** Tokens of a part of the cache, which is what a kill can lose; 8 sequences at least. Default 32,768. */
  readonly partTokens?: number
  readonly onProgress?: (tokens: number, total: number) => void
  /** Told why the model writes no conversations although it has a chat template. */
  readonly onWarning?: (warning: string) => void
  readonly signal?: AbortSignal
}

/** A model of fewer bytes writes as fast as its copy does. */
const copiedFromBytes = 64 << 20
const bytesPerWeightOfCopy = 34 / 32
/** Node, libllama, and the caches of sequences side by side. */
const processBytes = 1e9

/**
 * Windows of tokens that a model has written, from the cache as far as they were written before.
 * @param path a full-precision GGUF file
 * @param vocabulary the same model, at least its tokenizer
 * @throws FileError if the disk has no room for the copy to write with or for the text
 */
export async function selfWritten(
  path: string,
  vocabulary: LlamaModel,
  options: SelfWrittenOptions,
): Promise<Int32Array[]> {
  const { sequences, length, seed, onProgress, onWarning, signal } = options
  const copied = copiedAt(vocabulary)
  const conversation = await conversationOf(path, vocabulary, length, onWarning)
  const cache = await openCache(vocabulary, conversation, options)
  let writer: LlamaModel | undefined
  let lock: Lock | undefined
  const windows: Int32Array[] = []
  try {
    for (const { first, count } of partsOf(vocabulary, options)) {
      let known = await knownPart(cache, vocabulary, first, count)
      if (!known && !lock) {
        lock = await cache.lock(signal)
        known = await knownPart(cache, vocabulary, first, count)
      }
      if (known) {
        windows.push(...known)
        continue
      }
      if (!writer) checkWritingMemory(vocabulary, options.memory)
      await cache.reserve(first, count)
      writer ??= await openWriter(path, copied, cache.folder, vocabulary)
      const starts = Array.from({ length: count }, (_, i) =>
        startOf(vocabulary, seed, first + i, conversation),
      )
      const written = await sampleSequences(writer, {
        sequences: count,
        parallel: count,
        first,
        length,
        seed,
        wellFormed: true,
        prompts: starts.map(({ tokens }) => tokens),
        turns: starts.map(({ turns }) => turns),
        onProgress: (tokens) => onProgress?.(first * length + tokens, sequences * length),
        ...(signal && { signal }),
      })
      await cache.write(first, written)
      windows.push(...written)
    }
  } finally {
    writer?.dispose()
    lock?.release()
  }
  return windows
}

/** Whether all of a text is in the cache. */
export async function isWritten(
  path: string,
  vocabulary: LlamaModel,
  options: SelfWrittenOptions,
): Promise<boolean> {
  const cache = await openCache(vocabulary, await conversationOf(path, vocabulary, options.length), options)
  for (const { first, count } of partsOf(vocabulary, options))
    if (!(await knownPart(cache, vocabulary, first, count))) return false
  return true
}

function openCache(
  vocabulary: LlamaModel,
  conversation: Conversation | undefined,
  options: SelfWrittenOptions,
): Promise<TextCache> {
  const { seed, fingerprint, length } = options
  const [size, copied] = [partSequences(vocabulary, options), copiedAt(vocabulary)]
  return TextCache.open(
    {
      version: 3,
      fingerprint,
      seed,
      size,
      copied,
      conversation: described(conversation),
      threads: threadCount(),
      llama: PACKAGE_VERSION,
    },
    length,
  )
}

/** Sequences of each part of a text. */
function* partsOf(
  vocabulary: LlamaModel,
  options: SelfWrittenOptions,
): Generator<{ first: number; count: number }> {
  const size = partSequences(vocabulary, options)
  for (let first = 0; first < options.sequences; first += size)
    yield { first, count: Math.min(size, options.sequences - first) }
}

/** A part of the cache; undefined where it is not there or not of this vocabulary. */
async function knownPart(
  cache: TextCache,
  { vocabSize }: LlamaModel,
  first: number,
  count: number,
): Promise<Int32Array[] | undefined> {
  const known = await cache.read(first, count)
  return known?.every((tokens) => tokens.every((token) => token >= 0 && token < vocabSize))
    ? known
    : undefined
}

/** @throws QuenchError if writing with the model takes more than `memory` bytes, or undefined for any */
export function checkWritingMemory(model: LlamaModel, memory = Number.POSITIVE_INFINITY): void {
  const { bytes, parameters } = model
  // The quantizer maps the whole file.
  const weights = copiedAt(model) === undefined ? bytes : Math.max(bytes, bytesPerWeightOfCopy * parameters)
  const needed = processBytes + weights
  if (needed > memory)
    throw new QuenchError(
      `writing text with this model takes about ${humanBytes(needed)} of memory and ${humanBytes(memory)} are allowed; ` +
        'give text with --data or allow more',
    )
}

/** Bytes that a text takes in the cache folder, and a copy to write with while it is written. */
export function selfWrittenBytes(
  model: LlamaModel,
  text: Pick<SelfWrittenOptions, 'sequences' | 'length' | 'partTokens'>,
): { text: number; copy: number } {
  const { sequences, length } = text
  return {
    text: cachedBytes(sequences * length, Math.ceil(sequences / partSequences(model, text))),
    copy: copiedAt(model) === undefined ? 0 : Math.ceil(bytesPerWeightOfCopy * model.parameters),
  }
}

const copiedAt = (model: LlamaModel): 'Q8_0' | undefined =>
  model.bytes < copiedFromBytes ? undefined : 'Q8_0'

function partSequences(
  model: LlamaModel,
  { length, partTokens = 32_768 }: Pick<SelfWrittenOptions, 'length' | 'partTokens'>,
): number {
  return sideBySide(model, length, Math.max(8, Math.floor(partTokens / length)))
}

/** What a text depends on of a conversation. */
function described(conversation: Conversation | undefined): unknown {
  if (!conversation) return undefined
  const { toAssistant, toUser, longestUserTurn } = conversation.turns
  return [conversation.opening, toAssistant, toUser]
    .map((tokens) => Array.from(tokens))
    .concat([[longestUserTurn]])
}

/** The model to write with. A copy is read into memory, and its file removed before it is used. */
async function openWriter(
  path: string,
  copied: 'Q8_0' | undefined,
  folder: string,
  { parameters }: LlamaModel,
): Promise<LlamaModel> {
  if (copied === undefined) return LlamaModel.load(path)
  const needed = bytesPerWeightOfCopy * parameters
  const { bavail, bsize } = await statfs(folder)
  if (bavail * bsize < needed)
    throw new FileError(
      folder,
      `a copy of the model to write text with takes ${humanBytes(needed)} and ${humanBytes(bavail * bsize)} are free; ` +
        'make room, set QUENCH_CACHE to a folder on another disk, or give text with --data',
    )
  const temporary = temporaryPath(join(folder, 'writer.gguf'))
  try {
    await quantizeModel(path, temporary, { type: copied })
    return await LlamaModel.load(temporary, { mmap: false })
  } finally {
    await discardTemporary(temporary)
  }
}
