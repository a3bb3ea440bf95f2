/** Contexts that run the windows of a text, and the lengths of its tokens. */
import { LlamaContext, type LlamaModel } from '../llama/index.js'
import { cacheOptions } from './models.js'
import type { Windows } from './windows.js'

/** Tokens that libllama computes at once. */
const microBatch = 512
/**
 * Tokens per decode: windows run as parallel sequences to fill this, as in llama-perplexity. libllama then computes a part of
 * each window at a time, so that attention looks back on fewer tokens than with a whole window at once.
 */
const batchTokens = 2048

/** A context for as many windows at a time as fill a decode. @param kvType of its cache */
export function windowContext(
  model: LlamaModel,
  windows: Windows,
  kvType: string,
  threads: number | undefined,
): Promise<LlamaContext> {
  const { longest, count } = windows
  const sequences = Math.min(Math.max(1, Math.floor(batchTokens / longest)), count)
  return LlamaContext.create(model, {
    contextSize: longest,
    sequences,
    batchSize: sequences * longest,
    microBatchSize: microBatch,
    paced: true,
    ...cacheOptions(kvType),
    ...(threads !== undefined && { threads }),
  })
}

/** Length of a token's text in bytes; 0 for special tokens. */
export function byteCounter(model: LlamaModel): (token: number) => number {
  const known = new Int32Array(model.vocabSize).fill(-1)
  return (token) => {
    if (known[token] < 0) known[token] = model.tokenBytes(token).length
    return known[token]
  }
}
