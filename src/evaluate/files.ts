/** What is known of the files before they run: sizes and types for the report, and whether they can be compared. */
import { FileError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { type Summary, summarize } from '../gguf/summary.js'

export interface ComparableFile extends Summary {
  readonly path: string
  /** Text of every token. */
  readonly tokens: readonly string[]
}

/** Reads the header of the reference and of the files. @throws FileError for a file of another vocabulary */
export async function openComparable(reference: string, files: readonly string[]): Promise<ComparableFile[]> {
  const all: ComparableFile[] = []
  for (const path of [reference, ...files]) {
    const file = await readFacts(path)
    all.push(file)
    checkVocabulary(all[0], file)
  }
  return all
}

async function readFacts(path: string): Promise<ComparableFile> {
  const gguf = await openGguf(path)
  try {
    return { path, ...(await summarize(gguf)), tokens: gguf.metadata.strings('tokenizer.ggml.tokens') }
  } finally {
    await gguf.close()
  }
}

function checkVocabulary(reference: ComparableFile, { path, tokens }: ComparableFile): void {
  const wanted = reference.tokens
  const differs = (problem: string) =>
    new FileError(path, `${problem} of the reference ${reference.path}: the two cannot be compared`)
  if (tokens.length !== wanted.length)
    throw differs(`its vocabulary has ${tokens.length} tokens, not the ${wanted.length}`)
  const at = tokens.findIndex((token, i) => token !== wanted[i])
  if (at >= 0) throw differs(`token ${at} of its vocabulary is not that`)
}
