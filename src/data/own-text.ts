/** Text that a model writes for evaluation, where no text is given. */
import { openGguf } from '../gguf/index.js'
import { LlamaModel } from '../llama/index.js'
import { fingerprint } from '../models/fingerprint.js'
import { selfWritten } from './self-written.js'
import type { Document } from './texts.js'

/** Tokens that a model writes unless another number is asked for. */
export const ownTextTokens = 8192

export interface OwnTextOptions {
  /** Default 8,192. */
  readonly tokens?: number
  /** Tokens of each document. Default 512. */
  readonly length?: number
  /** Another seed gives another text. */
  readonly seed?: number
  readonly onProgress?: (done: number, total: number) => void
  readonly onWarning?: (warning: string) => void
  readonly signal?: AbortSignal
}

/** No seed that training takes by default, so that a trained file is not measured on the very text it was trained on. */
const evaluationSeed = 20_000_003

/**
 * Documents that the model writes, from the cache if it wrote them before.
 * @param path a full-precision GGUF file
 */
export async function writeDocuments(path: string, options: OwnTextOptions = {}): Promise<Document[]> {
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
      // One more: text is tokenized anew, and may be a few tokens shorter then.
      sequences: Math.ceil(tokens / length) + 1,
      length,
      seed,
      fingerprint: identity,
      ...(onProgress && { onProgress }),
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

/** A warning that says what a file was evaluated on. */
export const ownTextWarning = (documents: readonly Document[], path: string): string =>
  `${wrote(documents, path)} to evaluate on; text of your own may rank files differently`

/** A warning that says what importances were collected on. */
export const ownImportanceWarning = (documents: readonly Document[], path: string): string =>
  `${wrote(documents, path)} to collect importances on; text of your own may suit what you use it for better`

const wrote = (documents: readonly Document[], path: string): string =>
  `no text was given, so ${path} wrote ${documents.length} documents`
