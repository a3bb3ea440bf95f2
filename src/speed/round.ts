/**
 * One round of one file: load, warm up, and run every test once.
 *
 * As in llama-bench, the tokens are random, since their content does not affect the speed, and nothing is sampled. The model
 * is loaded in every round and freed at its end, so that no other file takes its memory or caches.
 */
import { LlamaContext, LlamaModel } from '../llama/index.js'
import { Random } from '../random.js'
import { forget, readPrompt } from './greedy.js'
import { type MemoryUse, memoryUse, residentBytes } from './memory.js'

/** Tokens to run at context depth `depth`: all at once (a prompt) or one by one. */
export interface SpeedTest {
  readonly kind: 'prompt' | 'generate'
  readonly tokens: number
  readonly depth: number
}

export interface RoundOptions {
  readonly tests: readonly SpeedTest[]
  readonly threads?: number
  /** KV cache type, e.g. `q8_0`, or `q8_0/f16` for keys / values. Default `f16`. */
  readonly kvType?: string
  /** Layers to offload to the GPU, -1 for all. Default 0. */
  readonly gpuLayers?: number
  readonly signal?: AbortSignal
  readonly onTokens?: (tokens: number) => void
}

export interface Round {
  readonly loadMs: number
  /** One value per test, in order. */
  readonly tokensPerSecond: readonly number[]
  readonly memory: MemoryUse
}

const warmUpTokens = 64

/** Tokens that a round runs, for progress. */
export function roundTokens(tests: readonly SpeedTest[]): number {
  const depths = new Set(tests.map(({ depth }) => depth))
  const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0)
  return sum(depths) + sum(tests.map(({ tokens }) => tokens))
}

/** @throws FileError for a file that cannot be loaded, QuenchError for a context that does not fit into memory */
export async function runRound(path: string, options: RoundOptions): Promise<Round> {
  const { tests, threads, kvType, gpuLayers = 0 } = options
  const before = await residentBytes()
  const model = await LlamaModel.load(path, { gpuLayers })
  let context: LlamaContext | undefined
  try {
    context = await LlamaContext.create(model, {
      contextSize: Math.max(warmUpTokens + 1, ...tests.map(({ tokens, depth }) => tokens + depth)),
      ...(threads !== undefined && { threads }),
      ...(kvType !== undefined && { kvType }),
    })
    const tokens = randomTokens(model, context.contextSize)
    await readPrompt(context, tokens.subarray(0, warmUpTokens))
    await context.decode(tokens.subarray(0, 1))
    const speeds = await runTests(context, tokens, options)
    const resident = Math.max(0, (await residentBytes()) - before)
    return {
      loadMs: model.loadMs,
      tokensPerSecond: speeds,
      memory: memoryUse([...model.buffers, ...context.buffers], context.contextSize, resident),
    }
  } finally {
    context?.dispose()
    model.dispose()
  }
}

/** Ordered by depth, so that each prefix is computed once. */
async function runTests(
  context: LlamaContext,
  tokens: Int32Array,
  { tests, signal, onTokens }: RoundOptions,
): Promise<number[]> {
  const speeds = new Array<number>(tests.length).fill(0)
  for (const depth of new Set(tests.map((test) => test.depth))) {
    context.clear()
    await readPrompt(context, tokens.subarray(0, depth))
    onTokens?.(depth)
    for (const [i, test] of tests.entries()) {
      if (test.depth !== depth) continue
      signal?.throwIfAborted()
      const run = tokens.subarray(depth, depth + test.tokens)
      const began = performance.now()
      if (test.kind === 'prompt') await readPrompt(context, run)
      else await readOneByOne(context, run, signal)
      speeds[i] = (1000 * test.tokens) / (performance.now() - began)
      onTokens?.(test.tokens)
      await backTo(context, tokens, depth)
    }
  }
  return speeds
}

async function readOneByOne(context: LlamaContext, tokens: Int32Array, signal?: AbortSignal): Promise<void> {
  for (let i = 0; i < tokens.length; i++) {
    signal?.throwIfAborted()
    await context.decode(tokens.subarray(i, i + 1))
  }
}

/** Truncates to `depth` tokens. Recurrent models cannot be truncated: they compute the prefix again. */
async function backTo(context: LlamaContext, tokens: Int32Array, depth: number): Promise<void> {
  try {
    forget(context, depth)
  } catch {
    context.clear()
    await readPrompt(context, tokens.subarray(0, depth))
  }
}

function randomTokens(model: LlamaModel, count: number): Int32Array {
  const random = new Random(1)
  const tokens = Int32Array.from({ length: count }, () => random.int(model.vocabSize))
  if (model.addBos && model.bos !== undefined) tokens[0] = model.bos
  return tokens
}
