/**
 * Windows: texts as token sequences of one length, the unit of training and validation. Each starts with BOS if the model
 * wants one, as in llama.cpp's evaluation. Windows do not overlap, and the remainder at the end is dropped.
 */
/** How a model's vocabulary begins a text. */
export interface TokenFacts {
  readonly bos: number | undefined
  readonly addBos: boolean
}

/** Cuts documents (tokens without BOS) into windows of `length` tokens; documents are concatenated into one stream. */
export function cutWindows(
  documents: readonly Int32Array[],
  length: number,
  { bos, addBos }: TokenFacts,
): Int32Array[] {
  const start = addBos ? bos : undefined
  const stream = join(documents, start)
  const own = start === undefined ? length : length - 1
  return Array.from({ length: Math.floor(stream.length / own) }, (_, i) => {
    const part = stream.subarray(i * own, (i + 1) * own)
    if (start === undefined) return part.slice()
    const window = new Int32Array(length)
    window[0] = start
    window.set(part, 1)
    return window
  })
}

/** Concatenates documents, with BOS between them if there is one. */
function join(documents: readonly Int32Array[], separator: number | undefined): Int32Array {
  const gap = separator === undefined ? 0 : 1
  const stream = new Int32Array(documents.reduce((n, d) => n + d.length + gap, 0))
  let at = 0
  for (const [i, document] of documents.entries()) {
    if (separator !== undefined && i > 0) stream[at++] = separator
    stream.set(document, at)
    at += document.length
  }
  return stream.subarray(0, at)
}

/** At most `count` evenly spaced items. */
export function spread<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items]
  return Array.from({ length: count }, (_, i) => items[Math.floor((i * items.length) / count)])
}

/** Concatenates windows of one length into the tokens of a batch. */
export function joinWindows(windows: readonly Int32Array[]): Int32Array {
  const tokens = new Int32Array(windows.length * windows[0].length)
  windows.forEach((window, i) => {
    tokens.set(window, i * window.length)
  })
  return tokens
}
