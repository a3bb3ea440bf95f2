/**
 * Text that the model writes itself: many parallel sequences, one decode per token of all of them, with logits only for the
 * last token of each.
 *
 * Sampling runs here, on the logits in llama.cpp's memory. Each sequence has its own random numbers, so its text depends only
 * on the seed and its number, not on how many are written at once (apart from rounding, since the summation order of a matrix
 * product can depend on the batch size).
 */
import { Random } from '../random.js'
import { LlamaContext } from './context.js'
import type { LlamaModel } from './model.js'
import { Sampler } from './sampler.js'
import { undividedCells } from './thread-pace.js'
import { type Turns, Writer } from './writer.js'
import { WritingLimit } from './writing-limit.js'

/** Options of `sampleSequences`. */
export interface SampleOptions {
  /** Number of sequences to write. */
  sequences: number
  /** Number of the first sequence, which its random numbers depend on. Default 0. */
  first?: number
  /** Tokens per sequence, including its prompt. */
  length: number
  /** Divides the logits; 0 takes the most probable token. Default 1. */
  temperature?: number
  /** Keep only the top-k tokens. Default: all. */
  topK?: number
  /** Of these, keep the most probable that together have this probability (top-p). Default 1: all. */
  topP?: number
  seed: number
  /** Beginnings; the i-th sequence takes number i modulo their count. Default: BOS, or a random token if there is none. */
  prompts?: readonly Int32Array[]
  /** For each prompt that begins a conversation, the template's text between turns. */
  turns?: readonly (Turns | undefined)[]
  /** Cut loops (writer.ts), and exclude tokens that no text contains: unused ones, control tokens that end nothing. */
  wellFormed?: boolean
  /** Sequences per context, up to 256. Default: `sideBySide`. */
  parallel?: number
  threads?: number
  /** Type of the KV cache. Default `f16`. */
  kvType?: string
  /** Called after every decode with the tokens written so far and the total. */
  onProgress?: (tokens: number, total: number) => void
  /** Aborts the work; the promise is rejected with the signal's reason. */
  signal?: AbortSignal
  /** When the texts have to be finished, as `performance.now()`: the last ones are given up if they cannot be, but for a few. */
  until?: number
}

const mostSideBySide = 224
/** Row tile of matrix units: 72 sequences took longer than 96. */
const tile = 32
/** Memory for the KV cache and logits of parallel sequences. */
const memoryBytes = 512 << 20

/**
 * Number of sequences of `length` tokens to write in parallel: 8 to 224, by the model's cache and vocabulary. More are faster.
 */
export function sideBySide(model: LlamaModel, length: number, most = mostSideBySide): number {
  const cells = Math.ceil(length / 256) * 256
  // llama.cpp keeps the logits twice: once where they are computed and once where they are read.
  const each = cells * cellBytes(model) + 8 * model.vocabSize
  const count = Math.min(most, mostSideBySide, Math.floor(memoryBytes / each))
  return count < tile ? Math.max(8, count) : Math.floor(count / tile) * tile
}

/** Bytes of a token's keys and values (f16) in ordinary attention: an upper bound if some layers share them. */
function cellBytes(model: LlamaModel): number {
  const meta = (key: string): number => Number(model.meta(`${model.architecture}.${key}`) ?? Number.NaN)
  const heads = meta('attention.head_count') || 1
  const width = meta('attention.key_length') || meta('embedding_length') / heads
  return 4 * (meta('block_count') || 1) * (meta('attention.head_count_kv') || heads) * (width || 1)
}

/**
 * Writes `sequences` texts of exactly `length` tokens, or fewer with `until`. After an end-of-text token, a new text begins with BOS in the same
 * sequence, if the model has BOS; after an end-of-turn token, the template's text and the next turn follow.
 */
export async function sampleSequences(model: LlamaModel, options: SampleOptions): Promise<Int32Array[]> {
  const { sequences, length } = options
  const written: Int32Array[] = []
  const parallel = Math.min(options.parallel ?? sideBySide(model, length), sequences)
  let done = 0
  for (let at = 0; at < sequences && written.length === at; at += parallel) {
    const group = await writeGroup(model, at, Math.min(parallel, sequences - at), options, (tokens) => {
      done += tokens
      options.onProgress?.(done, sequences * length)
    })
    written.push(...group)
  }
  return written
}

function firstToken(model: LlamaModel, random: Random): Int32Array {
  return Int32Array.of(model.bos ?? random.int(model.vocabSize))
}

/** Writes texts `start` to `start + count` of the requested ones. */
async function writeGroup(
  model: LlamaModel,
  start: number,
  count: number,
  options: SampleOptions,
  onTokens: (tokens: number) => void,
): Promise<Int32Array[]> {
  const {
    length,
    seed,
    first = 0,
    prompts = [],
    turns = [],
    wellFormed = false,
    threads,
    kvType,
    signal,
    until,
  } = options
  const paced = count > 1 && threads === undefined && kvType === undefined
  const context = await LlamaContext.create(model, {
    contextSize: length,
    sequences: count,
    batchSize: Math.min(2048, length * count),
    // At most one row of logits per sequence is needed at a time.
    microBatchSize: Math.min(512, Math.max(count, 64)),
    ...(threads !== undefined && { threads }),
    ...(paced && { paced, flashAttention: length > undividedCells ? 'off' : 'auto' }),
    ...(kvType !== undefined && { kvType }),
  })
  try {
    const group = Array.from({ length: count }, (_, i) => {
      const random = new Random(seed, first + start + i)
      const number = (start + i) % Math.max(1, prompts.length)
      return new Writer(model, random, prompts[number] ?? firstToken(model, random), {
        length,
        turns: turns[number],
        ...(wellFormed && { forget: (position: number) => context.removeSequence(i, position) }),
      })
    })
    const sampler = new Sampler(model.vocabSize, options)
    const never = wellFormed ? model.neverWritten() : []
    const all = [...group]
    const limit = until === undefined ? undefined : new WritingLimit(until)
    let known = all.reduce((sum, writer) => sum + writer.count, 0)
    onTokens(known)
    for (;;) {
      signal?.throwIfAborted()
      const sampling = await decodeNext(context, group)
      if (sampling === undefined) return group.map(({ tokens }) => tokens)
      if (limit) group.length = limit.remaining(all, group.length)
      if (sampling.length === 0) continue
      const logits = context.logits()
      for (const [row, writer] of sampling.entries()) {
        const at = row * model.vocabSize
        for (const id of never) logits[at + id] = Number.NEGATIVE_INFINITY
        writer.add(sampler.pick(logits, at, writer.random.uniform()))
      }
      const now = all.reduce((sum, writer) => sum + writer.count, 0)
      // Removing a loop must not make the progress go back.
      if (now > known) onTokens(now - known)
      known = Math.max(known, now)
    }
  } finally {
    context.dispose()
  }
}

/**
 * Decodes the tokens that are known but not decoded; returns the texts whose next token can be drawn, undefined if all are
 * finished.
 */
async function decodeNext(
  context: LlamaContext,
  group: readonly Writer[],
): Promise<readonly Writer[] | undefined> {
  const tokens: number[] = []
  const sequenceIds: number[] = []
  const wanted: boolean[] = []
  const sampling: Writer[] = []
  for (let i = 0; i < group.length && tokens.length < context.batchSize; i++) {
    const writer = group[i]
    if (writer.finished) continue
    while (writer.decoded < writer.count && tokens.length < context.batchSize) {
      tokens.push(writer.tokens[writer.decoded++])
      sequenceIds.push(i)
      wanted.push(writer.decoded === writer.count)
    }
    if (wanted.at(-1)) sampling.push(writer)
  }
  if (tokens.length === 0) return undefined
  await context.decode(tokens, { sequenceIds, logits: wanted })
  return sampling
}
