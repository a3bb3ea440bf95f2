/**
 * Training text that the model writes itself (data-free distillation, LLM-QAT, arXiv 2305.17888): sampled at temperature 1
 * through libllama, so that it follows the model's own distribution; starts.ts defines how texts begin. If the model has a
 * chat template, every second text is a conversation in which the model plays the user too (as in Magpie, arXiv 2406.08464).
 *
 * Large models write with a Q8_0 copy of themselves: its predictions are almost the same (KL divergence of about 0.001) and it
 * runs several times faster; the teacher stays the full-precision model. The copy lies in the cache folder until it is loaded.
 *
 * The result is cached under everything it depends on (model, settings, number of threads, llama.cpp release), in parts of at
 * most about 32,768 tokens (text-cache.ts).
 */

import { join } from 'node:path'
import { FileError, QuenchError } from '../errors.js'
import { discardTemporary, temporaryPath } from '../files.js'
import { freeBytesIn } from '../folders.js'
import { humanBytes } from '../format.js'
import { LlamaModel, PACKAGE_VERSION, quantizeModel, sampleSequences, sideBySide } from '../llama/index.js'
import type { Lock } from '../locks.js'
import { threadCount } from '../threads.js'
import { type Conversation, conversationOf } from './conversation.js'
import { startOf } from './starts.js'
import { cachedBytes, TextCache } from './text-cache.js'

export interface SelfWrittenOptions {
  readonly sequences: number
  /** Tokens per sequence. */
  readonly length: number
  readonly seed: number
  /** Identifies the model's contents in the cache. */
  readonly fingerprint: string
  /** Memory limit of the process in bytes. Default: none. */
  readonly memory?: number
  /** Tokens per part of the cache, the most that a kill can lose; at least 8 sequences. Default 32,768. */
  readonly partTokens?: number
  readonly onProgress?: (tokens: number, total: number) => void
  /** When writing has to end, as `performance.now()`: fewer sequences are returned if time does not suffice, but at least a few. */
  readonly until?: number
  /** Called with the reason if a model with a chat template writes no conversations. */
  readonly onWarning?: (warning: string) => void
  readonly signal?: AbortSignal
}

/** Below this size a model writes as fast as its copy. */
const copiedFromBytes = 64 << 20
const bytesPerWeightOfCopy = 34 / 32
/** Node, libllama, and the KV caches of parallel sequences. */
const processBytes = 1e9

/**
 * Windows of tokens that a model has written; parts written before are read from the cache.
 * @param path a full-precision GGUF file
 * @param vocabulary the same model, with at least its tokenizer
 * @throws FileError if the disk has no space for the writing copy or for the text
 */
export async function selfWritten(
  path: string,
  vocabulary: LlamaModel,
  options: SelfWrittenOptions,
): Promise<Int32Array[]> {
  const { sequences, length, seed, onProgress, onWarning, signal, until } = options
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
      if (until !== undefined && first > 0 && performance.now() >= until) break
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
        ...(until !== undefined && { until }),
      })
      await cache.write(first, written, count)
      windows.push(...written)
      if (written.length < count) break
    }
  } finally {
    writer?.dispose()
    lock?.release()
  }
  return windows
}

/** Whether the complete text is in the cache. */
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
      version: 4,
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

/** The sequences of each part of a text. */
function* partsOf(
  vocabulary: LlamaModel,
  options: SelfWrittenOptions,
): Generator<{ first: number; count: number }> {
  const size = partSequences(vocabulary, options)
  for (let first = 0; first < options.sequences; first += size)
    yield { first, count: Math.min(size, options.sequences - first) }
}

/** A part of the cache; undefined if it is missing or of another vocabulary. */
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

/** @throws QuenchError if writing with the model takes more than `memory` bytes (default: no limit) */
export function checkWritingMemory(model: LlamaModel, memory = Number.POSITIVE_INFINITY): void {
  const { bytes, parameters } = model
  // The quantizer maps the whole file.
  const weights = copiedAt(model) === undefined ? bytes : Math.max(bytes, bytesPerWeightOfCopy * parameters)
  const needed = processBytes + weights
  if (needed > memory)
    throw new QuenchError(
      `writing text with this model takes about ${humanBytes(needed)} of memory and ${humanBytes(memory)} are allowed; ` +
        'give text with --data, let the model write none with --self-written 0, or allow more',
    )
}

/** Bytes that a text takes in the cache folder, including the temporary copy of the model. */
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

/** The properties of a conversation format that a text depends on. */
function described(conversation: Conversation | undefined): unknown {
  if (!conversation) return undefined
  const { toAssistant, toUser, longestUserTurn } = conversation.turns
  return [conversation.opening, toAssistant, toUser]
    .map((tokens) => Array.from(tokens))
    .concat([[longestUserTurn]])
}

/** The model that writes. A copy is read into memory, and its file is removed before use. */
async function openWriter(
  path: string,
  copied: 'Q8_0' | undefined,
  folder: string,
  { parameters }: LlamaModel,
): Promise<LlamaModel> {
  if (copied === undefined) return LlamaModel.load(path)
  const needed = bytesPerWeightOfCopy * parameters
  const free = await freeBytesIn(folder)
  if (free < needed)
    throw new FileError(
      folder,
      `a copy of the model to write text with takes ${humanBytes(needed)} and ${humanBytes(free)} are free; ` +
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
