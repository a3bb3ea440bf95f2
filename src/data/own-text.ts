/** Text that a model writes for evaluation if no text is given. */
import { openGguf } from '../gguf/index.js'
import { LlamaModel } from '../llama/index.js'
import { fingerprint } from '../models/fingerprint.js'
import type { ProgressEvent } from '../notices.js'
import { checkOptionNames } from '../option-checks.js'
import { selfWritten } from './self-written.js'
import type { Document } from './texts.js'

/** Default number of tokens that a model writes. */
export const ownTextTokens = 8192

export interface OwnTextOptions {
  /** Default 8,192. */
  readonly tokens?: number
  /** Tokens of each document. Default 512. */
  readonly length?: number
  /** Another seed gives another text. */
  readonly seed?: number
  readonly onProgress?: (event: ProgressEvent) => void
  readonly onWarning?: (warning: string) => void
  readonly signal?: AbortSignal
}

/** Differs from training's default seeds, so that a trained file is not measured on its own training text. */
const evaluationSeed = 20_000_003

/** Documents that the model writes, or that it wrote before and the cache holds. @param path a full-precision GGUF file */
export async function writeDocuments(path: string, options: OwnTextOptions = {}): Promise<Document[]> {
  checkOptionNames(options, {
    tokens: true,
    length: true,
    seed: true,
    onProgress: true,
    onWarning: true,
    signal: true,
  })
  const {
    tokens = ownTextTokens,
    length = 512,
    seed = evaluationSeed,
    onProgress,
    onWarning,
    signal,
  } = options
  const gguf = await openGguf(path)
  const identity = await fingerprint(gguf).finally(() => gguf.close())
  const vocabulary = await LlamaModel.load(path, { vocabOnly: true })
  try {
    const windows = await selfWritten(path, vocabulary, {
      // One extra sequence: the text is tokenized again and may then be a few tokens shorter.
      sequences: Math.ceil(tokens / length) + 1,
      length,
      seed,
      fingerprint: identity,
      onProgress: (done, total) => onProgress?.({ stage: 'text', done, total }),
      ...(onWarning && { onWarning }),
      ...(signal && { signal }),
    })
    return windows.map((window, i) => ({
      name: `written ${i + 1}`,
      text: vocabulary.detokenize(window, { removeSpecial: true }),
    }))
  } finally {
    vocabulary.dispose()
  }
}

/** A warning that names the text of an evaluation. */
export const ownTextWarning = (documents: readonly Document[], path: string): string =>
  `${wrote(documents, path)} to evaluate on; text of your own may rank files differently`

/** A warning that says what importances were collected on. */
export const ownImportanceWarning = (documents: readonly Document[], path: string): string =>
  `${wrote(documents, path)} to collect importances on; text of your own may suit what you use it for better`

const wrote = (documents: readonly Document[], path: string): string =>
  `no text was given, so ${path} wrote ${documents.length} documents`
