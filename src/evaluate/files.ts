/** Facts about files read before they run: sizes and types for the report, and whether they can be compared. */
import type { Summary } from '../gguf/summary.js'
import { runOnThread } from '../workers.js'

export interface ComparableFile extends Summary {
  readonly path: string
  /** Number of tokens. */
  readonly vocabulary: number
  /** SHA-256 over everything that distinguishes tokenizers. */
  readonly tokenizer: string
}

/** Reads the headers. @throws FileError for a file whose vocabulary or tokenizer differs from the first's */
export function openComparable(paths: readonly string[]): Promise<ComparableFile[]> {
  return runOnThread('./files-worker', import.meta.url, paths, { path: paths.join(', ') })
}
