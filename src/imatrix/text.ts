/** The text of an importance matrix, in the windows of llama-imatrix: pieces of one stream of tokens, BOS in place of the first token. */
import { ownImportanceWarning, ownTextTokens, writeDocuments } from '../data/own-text.js'
import { type Document, readDocuments, textWarnings } from '../data/texts.js'
import { UsageError } from '../errors.js'
import { LlamaModel } from '../llama/index.js'
import type { ImatrixOptions } from './options.js'

/** No seed of training or evaluation, so that no file is measured on the very text that its importances are of. */
const seed = 30_000_001

/** Windows of the text that is given, or of what the model writes. @throws UsageError for too little text */
export async function windowsOf(options: ImatrixOptions, context: number): Promise<Int32Array[]> {
  const { input, tokens, onWarning } = options
  const data = options.data?.length ? options.data : undefined
  const documents = data ? await readDocuments(data) : await ownDocuments(options, context)
  for (const warning of data ? textWarnings(documents) : [ownImportanceWarning(documents, input)])
    onWarning?.(warning)
  const vocabulary = await LlamaModel.load(input, { vocabOnly: true })
  try {
    const most = tokens ?? (data ? Number.POSITIVE_INFINITY : Math.max(ownTextTokens, context))
    const stream = await streamOf(documents, vocabulary, most)
    const { addBos, bos } = vocabulary
    const count = Math.floor(Math.min(stream.length, most) / context)
    if (count === 0)
      throw new UsageError(
        `the text has ${Math.min(stream.length, most)} tokens, and a window ${context}; give more of it, or a smaller --context`,
      )
    return Array.from({ length: count }, (_, i) => {
      const window = stream.slice(i * context, (i + 1) * context)
      if (addBos && bos !== undefined) window[0] = bos
      return window
    })
  } finally {
    vocabulary.dispose()
  }
}

const ownDocuments = (
  { input, tokens = ownTextTokens, onProgress, onWarning, signal }: ImatrixOptions,
  context: number,
): Promise<Document[]> =>
  writeDocuments(input, {
    seed,
    tokens,
    length: context,
    onProgress: ({ done, total }) => onProgress?.({ stage: 'write text', done, total }),
    ...(onWarning && { onWarning }),
    ...(signal && { signal }),
  })

/** Documents one after another, each begun as the model wants a text begun, until there are `most` tokens. */
async function streamOf(
  documents: readonly Document[],
  vocabulary: LlamaModel,
  most: number,
): Promise<Int32Array> {
  const parts: Int32Array[] = []
  let length = 0
  for (const { text } of documents) {
    if (length >= most) break
    const part = await vocabulary.tokenizeAsync(text, { addSpecial: true })
    length += part.length
    parts.push(part)
  }
  const stream = new Int32Array(length)
  let at = 0
  for (const part of parts) {
    stream.set(part, at)
    at += part.length
  }
  return stream
}
