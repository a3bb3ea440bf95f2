/** Greedy continuations of many prompts in parallel. */
import { setImmediate } from 'node:timers/promises'
import { LlamaContext, type LlamaModel } from '../../llama/index.js'
import { topTokens } from '../divergence.js'
import { cacheOptions } from '../models.js'

export interface GreedyOptions {
  /** Limit of generated tokens per prompt. */
  readonly tokens: number
  readonly kvType: string
  readonly threads: number | undefined
  readonly signal: AbortSignal | undefined
  /** Called with the number of tokens generated so far. */
  readonly onTokens: (tokens: number) => void
}

const mostSequences = 32
/** Limit of tokens of prompts and continuations in the cache. */
const mostCells = 16_384
/** Floats searched before the event loop gets a turn: a few milliseconds. */
const searchPiece = 2 ** 21

/** The continuation of each prompt: up to `tokens` tokens, the last of which may end the text. */
export async function continueGreedily(
  model: LlamaModel,
  prompts: readonly Int32Array[],
  options: GreedyOptions,
): Promise<Int32Array[]> {
  const longest = prompts.reduce((most, { length }) => Math.max(most, length), 0) + options.tokens
  const sequences = Math.max(1, Math.min(mostSequences, prompts.length, Math.floor(mostCells / longest)))
  const context = await LlamaContext.create(model, {
    contextSize: longest,
    sequences,
    batchSize: 512,
    ...cacheOptions(options.kvType),
    ...(options.threads !== undefined && { threads: options.threads }),
  })
  try {
    const written: Int32Array[] = []
    let before = 0
    for (let start = 0; start < prompts.length; start += sequences) {
      const group = prompts.slice(start, start + sequences)
      const texts = await continueGroup(context, group, options, (tokens) =>
        options.onTokens(before + tokens),
      )
      before += texts.reduce((sum, { length }) => sum + length, 0)
      written.push(...texts)
    }
    return written
  } finally {
    context.dispose()
  }
}

async function continueGroup(
  context: LlamaContext,
  prompts: readonly Int32Array[],
  { tokens: most, signal }: GreedyOptions,
  onTokens: (tokens: number) => void,
): Promise<Int32Array[]> {
  const { model } = context
  context.clear()
  const texts = prompts.map((): number[] => [])
  let active: number[] = []
  // One prompt at a time, so that a prompt's result does not depend on its neighbours.
  for (const [sequence, prompt] of prompts.entries()) {
    for (let start = 0; start < prompt.length; start += context.batchSize) {
      signal?.throwIfAborted()
      const part = prompt.subarray(start, start + context.batchSize)
      await context.decode(part, {
        positions: part.map((_, i) => start + i),
        sequenceIds: new Int32Array(part.length).fill(sequence),
        logits: 'last',
      })
    }
    await append(context, [texts[sequence]])
    active.push(sequence)
  }
  const unfinished = (sequence: number): boolean => {
    const text = texts[sequence]
    return text.length < most && !model.isEog(text[text.length - 1])
  }
  let written = prompts.length
  for (;;) {
    onTokens(written)
    active = active.filter(unfinished)
    if (active.length === 0) return texts.map((text) => Int32Array.from(text))
    signal?.throwIfAborted()
    await context.decode(
      active.map((sequence) => texts[sequence][texts[sequence].length - 1]),
      {
        positions: active.map((sequence) => prompts[sequence].length + texts[sequence].length - 1),
        sequenceIds: active,
        logits: 'all',
      },
    )
    await append(
      context,
      active.map((sequence) => texts[sequence]),
    )
    written += active.length
  }
}

/** Appends the most probable token of its row of logits to each text. */
async function append(context: LlamaContext, texts: readonly number[][]): Promise<void> {
  const size = context.model.vocabSize
  const logits = context.logits()
  const top = new Int32Array(1)
  const pause = Math.max(1, Math.floor(searchPiece / size))
  for (const [row, text] of texts.entries()) {
    if (row > 0 && row % pause === 0) await setImmediate()
    topTokens(logits, row * size, size, top)
    text.push(top[0])
  }
}
