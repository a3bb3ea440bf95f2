/** What the files write: greedy continuations of the same beginnings, side by side with the reference's. */
import { LlamaModel, sampleSequences } from '../llama/index.js'

export interface Prompt {
  readonly text: string
  /** Of the reference's vocabulary, which is that of all files. */
  readonly tokens: readonly number[]
}

export interface Continuation {
  /** Up to the first token that ends a text. */
  readonly tokens: readonly number[]
  /** The text of each token; characters that span tokens are with the last of them. */
  readonly pieces: readonly string[]
}

/** Beginnings of texts: the first words of up to `count` places spread over them. */
export async function choosePrompts(
  reference: string,
  texts: readonly string[],
  { count, tokens }: { count: number; tokens: number },
): Promise<Prompt[]> {
  const model = await LlamaModel.load(reference, { vocabOnly: true })
  try {
    const whole = texts.join('\n')
    const prompts: Prompt[] = []
    for (let i = 0; i < count; i++) {
      // From the beginning of a sentence, or else of a word.
      const piece = whole.slice(Math.floor((whole.length * i) / count)).slice(0, 2000)
      const start = i === 0 ? 0 : Math.max(0, piece.search(/(?<=[.!?]\s+)\p{L}/u))
      const ids = model.tokenize(piece.slice(start).trimStart(), { addSpecial: true }).slice(0, tokens)
      if (ids.length > 0)
        prompts.push({ text: model.detokenize(ids, { removeSpecial: true }), tokens: Array.from(ids) })
    }
    return prompts
  } finally {
    model.dispose()
  }
}

/** Continues every prompt greedily by up to `length` tokens. */
export async function writeOn(
  path: string,
  prompts: readonly Prompt[],
  length: number,
  { threads, gpuLayers = 0, kvType }: { threads?: number; gpuLayers?: number; kvType?: string } = {},
): Promise<Continuation[]> {
  const model = await LlamaModel.load(path, { gpuLayers })
  try {
    const longest = Math.max(...prompts.map(({ tokens }) => tokens.length))
    const sequences = await sampleSequences(model, {
      sequences: prompts.length,
      length: longest + length,
      temperature: 0,
      prompts: prompts.map(({ tokens }) => Int32Array.from(tokens)),
      seed: 1,
      ...(threads !== undefined && { threads }),
      ...(kvType !== undefined && { kvType }),
    })
    return sequences.map((sequence, i) => {
      const start = prompts[i].tokens.length
      const written = Array.from(sequence.subarray(start, start + length))
      const end = written.findIndex((token) => model.isEog(token))
      const tokens = end < 0 ? written : written.slice(0, end)
      return { tokens, pieces: piecesOf(model, tokens) }
    })
  } finally {
    model.dispose()
  }
}

function piecesOf(model: LlamaModel, tokens: readonly number[]): string[] {
  const decoder = new TextDecoder()
  return tokens.map((token) => decoder.decode(model.tokenBytes(token), { stream: true }))
}

/** Index of the first token that differs; the length of the shorter where one goes on; undefined if both are the same. */
export function firstDifference(a: readonly number[], b: readonly number[]): number | undefined {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i
  return a.length === b.length ? undefined : length
}
