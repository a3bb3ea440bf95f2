/** The windows that a run trains and validates on: the user's text, or text that the model writes itself. */

import { selfWritten } from '../data/self-written.js'
import { readTexts } from '../data/texts.js'
import { cutWindows, holdOut, type Split } from '../data/windows.js'
import { LlamaModel } from '../llama/index.js'

export interface TextOptions {
  /** Files and folders; none: the model writes. */
  readonly data: readonly string[]
  /** Most training tokens to read or to write. */
  readonly tokens: number
  /** Tokens of a window. */
  readonly length: number
  /** Windows held out for validation. */
  readonly validation: number
  readonly seed: number
  readonly fingerprint: string
  readonly onProgress?: (tokens: number, total: number) => void
  readonly signal?: AbortSignal
}

export async function trainingText(path: string, options: TextOptions): Promise<Split> {
  const { data, length, validation, seed, fingerprint } = options
  const wanted = Math.ceil(options.tokens / length)
  const model = await LlamaModel.load(path, { vocabOnly: data.length > 0 })
  try {
    if (data.length === 0) {
      const windows = await selfWritten(model, {
        sequences: wanted + Math.min(validation, wanted),
        length,
        seed,
        fingerprint,
        ...(options.onProgress && { onProgress: options.onProgress }),
        ...(options.signal && { signal: options.signal }),
      })
      return holdOut(windows, validation)
    }
    const documents = (await readTexts(data)).map((text) => model.tokenize(text))
    const split = holdOut(cutWindows(documents, length, model), validation)
    return { ...split, train: spread(split.train, wanted) }
  } finally {
    model.dispose()
  }
}

/** At most `count` items, evenly spread. */
function spread<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items]
  return Array.from({ length: count }, (_, i) => items[Math.floor((i * items.length) / count)])
}
