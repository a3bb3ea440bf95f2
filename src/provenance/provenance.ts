/**
 * The record of a file that is being made. Its sources are hashed while other work goes on, so the record takes its place in the header
 * with zeros for hashes first. Files in the Hub's cache are named by their hash already.
 */
import { basename } from 'node:path'
import { type GgufValue, Metadata } from '../gguf/index.js'
import type { DataDigest } from '../gguf/writer.js'
import { fileHash } from '../hashes.js'
import { cachedFile } from '../hub/cache.js'
import type { ProgressEvent } from '../notices.js'
import { statIfThere } from '../system-errors.js'
import {
  type OptionValue,
  type ProvenanceStep,
  provenanceEntries,
  type SourceFile,
  stepOf,
  stepTexts,
} from './record.js'

/** A file to be named as a source. */
export interface Origin {
  readonly role: SourceFile['role']
  readonly path: string
}

/** A model and the importance matrix that it was quantized by. */
export const originsOf = (model: readonly string[], imatrix: string | undefined): Origin[] => [
  ...model.map((path): Origin => ({ role: 'model', path })),
  ...(imatrix === undefined ? [] : [{ role: 'imatrix', path: imatrix } as const]),
]

interface Made {
  readonly command: string
  readonly options: Readonly<Record<string, OptionValue | null | undefined>>
  readonly origins: readonly Origin[]
  /** Metadata of the model that it is made from. */
  readonly input?: Metadata
}

const noHash = '0'.repeat(64)

export class Provenance {
  readonly #before: readonly string[]
  readonly #sources: readonly (Origin & Omit<SourceFile, 'sha256'> & { readonly sha256?: string })[]
  readonly #abort = new AbortController()
  #hashes: Promise<string[]> | undefined
  #onBytes: ((bytes: number) => void) | undefined
  #done = 0

  constructor(private readonly made: Made) {
    this.#before = stepTexts(made.input ?? new Metadata(''))
    this.#sources = made.origins.map(({ role, path }) => {
      const found = cachedFile(path)
      return found
        ? {
            role,
            path,
            name: found.file,
            repository: found.id,
            revision: found.commit,
            ...(found.sha256 !== undefined && { sha256: found.sha256 }),
          }
        : { role, path, name: basename(path) }
    })
  }

  /** Begins to hash the sources. `stop` ends that. */
  begin(): this {
    this.#hashes ??= this.#hash()
    this.#hashes.catch(() => {}) // told by `entries`
    return this
  }

  /** No more hashes are needed. */
  stop(): void {
    this.#abort.abort()
  }

  /** The metadata with zeros in place of hashes, which takes as many bytes as `entries`. */
  get placeholders(): Map<string, GgufValue> {
    return provenanceEntries(this.#before, this.#step([]), { sha256: noHash, bytes: 0 })
  }

  /** The metadata, once the sources are hashed. @throws FileError for a source that cannot be read */
  async entries(
    data: DataDigest,
    onProgress?: (event: ProgressEvent) => void,
  ): Promise<Map<string, GgufValue>> {
    this.begin()
    if (onProgress) {
      const sizes = this.#sources.map(({ path, sha256 }) =>
        sha256 === undefined ? (statIfThere(path)?.size ?? 0) : 0,
      )
      const total = sizes.reduce((sum, size) => sum + size, 0)
      this.#onBytes = () => onProgress({ stage: 'checksum', done: this.#done, total })
    }
    return provenanceEntries(this.#before, this.#step(await (this.#hashes as Promise<string[]>)), data)
  }

  #step(hashes: readonly string[]): ProvenanceStep {
    const { command, options } = this.made
    const sources = this.#sources.map(({ path: _, sha256: __, ...source }, i) => ({
      ...source,
      sha256: hashes[i] ?? noHash,
    }))
    return stepOf(command, options, sources)
  }

  async #hash(): Promise<string[]> {
    const { signal } = this.#abort
    const onBytes = (bytes: number): void => {
      this.#done += bytes
      this.#onBytes?.(bytes)
    }
    const hashes: string[] = []
    for (const { path, sha256 } of this.#sources)
      hashes.push(sha256 ?? (await fileHash(path, { onBytes, signal })))
    return hashes
  }
}
