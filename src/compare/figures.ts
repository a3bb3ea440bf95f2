/** Figures of a file that follow from its measurements. */
import type { FileSpeed } from '../speed/index.js'
import type { ComparedFile } from './comparison.js'
import type { KeptEvaluation } from './evaluations.js'

const partsOfText = 8

/** Loss by document; a single document is split into equal parts. */
export function partsOf({
  byDocument,
  windowSums: { kld, tokens },
}: KeptEvaluation['file']): ComparedFile['parts'] {
  if (byDocument.length > 1)
    return byDocument.map((part) => ({ name: part.name, tokens: part.tokens, kld: part.kld }))
  const count = Math.min(partsOfText, tokens.length)
  return Array.from({ length: count }, (_, i) => {
    const sum = (of: readonly number[]) =>
      of
        .slice(Math.floor((i * of.length) / count), Math.floor(((i + 1) * of.length) / count))
        .reduce((a, b) => a + b, 0)
    return { name: `part ${i + 1} of ${count}`, tokens: sum(tokens), kld: sum(kld) / sum(tokens) }
  })
}

/** Memory for the weights as in the file, the KV cache of a conversation, and buffers. */
export function neededBytes(bytes: number, speed: FileSpeed | undefined, contextTokens: number): number {
  if (!speed) return bytes
  const { kvBytes, contextTokens: measured, computeBytes, outputBytes } = speed.memory
  const cells = (tokens: number) => Math.ceil(tokens / 256) * 256
  return bytes + (kvBytes * cells(contextTokens)) / cells(measured) + computeBytes + outputBytes
}
