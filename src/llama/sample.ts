/**
 * Text that the model writes itself: many sequences side by side, one decode per token of all of them.
 *
 * Sampling is done here, from the logits where llama.cpp left them. Each sequence has its own random numbers, so what
 * it becomes depends on the seed and its number only, not on how many are written at once (apart from rounding, since
 * the order of sums in a matrix product can depend on the size of the batch).
 */
import { Random } from '../random.js'
import { LlamaContext } from './context.js'
import type { LlamaModel } from './model.js'
import { Sampler } from './sampler.js'

/** Options of `sampleSequences`. */
export interface SampleOptions {
  /** How many sequences to write. */
  sequences: number
  /** Tokens of each, its beginning included. */
  length: number
  /** Divides the logits; 0 takes the likeliest token. Default 1. */
  temperature?: number
  /** Keep only this many of the likeliest tokens. Default: all. */
  topK?: number
  /** Of these, keep the likeliest that together have this probability. Default 1: all. */
  topP?: number
  seed: number
  /** Beginnings; sequence i takes number i modulo their count. Default: BOS, or a random token where there is none. */
  prompts?: readonly Int32Array[]
  /** Sequences in one context, up to 256. Default 224. */
  parallel?: number
  threads?: number
  /** Called after every decode with the tokens written so far and in all. */
  onProgress?: (tokens: number, total: number) => void
  /** Stops the work; the promise is rejected with the signal's reason. */
  signal?: AbortSignal
}

/**
 * Writes `sequences` texts of exactly `length` tokens. After a token that ends a text, a new one begins with BOS
 * in the same sequence, where the model has BOS.
 */
export async function sampleSequences(model: LlamaModel, options: SampleOptions): Promise<Int32Array[]> {
  const { sequences, length, seed, prompts = [] } = options
  const written: Int32Array[] = []
  const parallel = Math.min(options.parallel ?? 224, sequences)
  let done = 0
  for (let first = 0; first < sequences; first += parallel) {
    const group = Array.from({ length: Math.min(parallel, sequences - first) }, (_, i) => {
      const random = new Random(seed, first + i)
      const start = prompts.length > 0 ? prompts[(first + i) % prompts.length] : firstToken(model, random)
      return new Writer(model, random, start, length)
    })
    await writeGroup(model, group, options, (tokens) => {
      done += tokens
      options.onProgress?.(done, sequences * length)
    })
    written.push(...group.map((writer) => writer.tokens))
  }
  return written
}

function firstToken(model: LlamaModel, random: Random): Int32Array {
  return Int32Array.of(model.bos ?? random.int(model.vocabSize))
}

/** One sequence as it grows. */
class Writer {
  readonly tokens: Int32Array
  /** Tokens known. */
  count: number
  /** Tokens decoded. */
  decoded = 0

  constructor(
    private readonly model: LlamaModel,
    readonly random: Random,
    start: Int32Array,
    length: number,
  ) {
    this.tokens = new Int32Array(length)
    this.count = Math.min(start.length, length)
    this.tokens.set(start.subarray(0, length))
    if (start.length === 0) throw new RangeError('a prompt has no token')
  }

  get finished(): boolean {
    return this.count === this.tokens.length
  }

  add(token: number): void {
    const { bos } = this.model
    this.tokens[this.count++] = token
    if (!this.finished && bos !== undefined && token !== bos && this.model.isEog(token))
      this.tokens[this.count++] = bos
  }
}

async function writeGroup(
  model: LlamaModel,
  group: Writer[],
  options: SampleOptions,
  onTokens: (tokens: number) => void,
): Promise<void> {
  const { length, threads, signal } = options
  const context = await LlamaContext.create(model, {
    contextSize: length,
    sequences: group.length,
    batchSize: Math.min(2048, length * group.length),
    ...(threads ? { threads } : {}),
  })
  const sampler = new Sampler(model.vocabSize, options)
  const tokens: number[] = []
  const sequenceIds: number[] = []
  const wanted: boolean[] = []
  const sampling: Writer[] = []
  const add = (writer: Writer, sequence: number): void => {
    while (writer.decoded < writer.count && tokens.length < context.batchSize) {
      tokens.push(writer.tokens[writer.decoded++])
      sequenceIds.push(sequence)
      wanted.push(writer.decoded === writer.count)
    }
    if (wanted.at(-1)) sampling.push(writer)
  }
  try {
    onTokens(group.reduce((sum, writer) => sum + writer.count, 0))
    for (;;) {
      signal?.throwIfAborted()
      for (const array of [tokens, sequenceIds, wanted, sampling]) array.length = 0
      for (let i = 0; i < group.length && tokens.length < context.batchSize; i++) {
        if (!group[i].finished) add(group[i], i)
      }
      if (tokens.length === 0) return
      await context.decode(tokens, { sequenceIds, logits: wanted })
      if (sampling.length === 0) continue
      const logits = context.logits()
      let before = 0
      let after = 0
      for (let row = 0; row < sampling.length; row++) {
        const writer = sampling[row]
        before += writer.count
        writer.add(sampler.pick(logits, row * model.vocabSize, writer.random.uniform()))
        after += writer.count
      }
      onTokens(after - before)
    }
  } finally {
    context.dispose()
  }
}
