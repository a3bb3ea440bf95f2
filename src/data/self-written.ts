/**
 * Training text that the model writes itself (data-free distillation, LLM-QAT, arXiv 2305.17888): sampled at
 * temperature 1 through libllama, so that it has the distribution the model itself believes in. Half of the texts start
 * as any text does; the others start with a random token, so that rare corners of the vocabulary are visited.
 *
 * The result is cached by the model's fingerprint and the settings, since writing takes longer than reading it back.
 */
import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { atomicWrite } from '../files.js'
import { type LlamaModel, sampleSequences } from '../llama/index.js'
import { Random } from '../random.js'

export interface SelfWrittenOptions {
  readonly sequences: number
  /** Tokens of each. */
  readonly length: number
  readonly seed: number
  /** Identifies the model's contents, for the cache. */
  readonly fingerprint: string
  readonly onProgress?: (tokens: number, total: number) => void
  readonly signal?: AbortSignal
}

/** Windows of tokens that the model has written, from the cache if they were written before. */
export async function selfWritten(model: LlamaModel, options: SelfWrittenOptions): Promise<Int32Array[]> {
  const { sequences, length, seed, fingerprint } = options
  const key = createHash('sha256')
    .update(JSON.stringify({ version: 1, fingerprint, sequences, length, seed }))
    .digest('hex')
  const folder = join(cacheFolder(), 'text')
  const path = join(folder, `${key.slice(0, 32)}.tokens`)
  const cached = await readCached(path, sequences * length, model.vocabSize)
  if (cached) return cut(cached, length)

  const random = new Random(seed, 0x7e47)
  const prompts = Array.from({ length: sequences }, (_, i) => {
    const bos = model.addBos && model.bos !== undefined ? [model.bos] : []
    return Int32Array.from(i % 2 === 0 && bos.length > 0 ? bos : [...bos, ordinaryToken(model, random)])
  })
  const written = await sampleSequences(model, {
    sequences,
    length,
    seed,
    prompts,
    ...(options.onProgress && { onProgress: options.onProgress }),
    ...(options.signal && { signal: options.signal }),
  })
  const tokens = new Int32Array(sequences * length)
  written.forEach((sequence, i) => {
    tokens.set(sequence, i * length)
  })
  await mkdir(folder, { recursive: true })
  await atomicWrite(path, new Uint8Array(tokens.buffer))
  return cut(tokens, length)
}

/** `QUENCH_CACHE`, else `quench` in the user's cache folder. */
export function cacheFolder(): string {
  return process.env.QUENCH_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'quench')
}

function ordinaryToken(model: LlamaModel, random: Random): number {
  for (;;) {
    const token = random.int(model.vocabSize)
    if (!model.isEog(token) && token !== model.bos) return token
  }
}

/** A cached file is taken only if it has the right size and every token is one of the vocabulary. */
async function readCached(path: string, count: number, vocabulary: number): Promise<Int32Array | undefined> {
  const bytes = await readFile(path).catch(() => undefined)
  if (bytes?.length !== 4 * count) return undefined
  const tokens = new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
  return tokens.every((t) => t >= 0 && t < vocabulary) ? tokens : undefined
}

const cut = (tokens: Int32Array, length: number): Int32Array[] =>
  Array.from({ length: tokens.length / length }, (_, i) => tokens.slice(i * length, (i + 1) * length))
