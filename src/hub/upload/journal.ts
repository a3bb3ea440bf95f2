/**
 * Parts of a file that have been sent, in quench's cache, so that whoever goes on sends the others only. The addresses are valid for about a
 * day and let whoever knows them write that one file, so they are kept for the user alone and never printed.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ownCacheFolder } from '../../cache-folder.js'
import { atomicWrite } from '../../files.js'
import { contentHash } from '../../hashes.js'
import { type Lock, lockFile } from '../../locks.js'
import type { Multipart } from './batch.js'

const validMs = 12 * 3600 * 1000

interface Kept {
  readonly begun: number
  readonly upload: Multipart
  /** By number of the part, from 1. */
  readonly etags: Record<string, string>
}

export class UploadJournal {
  #kept: Kept | undefined

  private constructor(
    private readonly key: string,
    private readonly path: string,
    private readonly lock: Lock,
  ) {}

  /** Of one content for one repository. @throws FileError while another process sends it */
  static async open(endpoint: string, repository: string, oid: string): Promise<UploadJournal> {
    const key = contentHash({ endpoint, repository, oid }).slice(0, 32)
    const lock = await lockFile(join(ownCacheFolder('uploads'), key), 'sending the same file')
    const journal = new UploadJournal(key, join(ownCacheFolder('uploads', key), 'parts.json'), lock)
    journal.#kept = read(journal.path)
    return journal
  }

  /** What was begun earlier and is valid still. */
  get begun(): { upload: Multipart; etags: Map<number, string> } | undefined {
    const kept = this.#kept
    return (
      kept && {
        upload: kept.upload,
        etags: new Map(Object.entries(kept.etags).map(([part, etag]) => [Number(part), etag])),
      }
    )
  }

  async begin(upload: Multipart): Promise<void> {
    this.#kept = { begun: Date.now(), upload, etags: {} }
    await this.#save()
  }

  async finish(part: number, etag: string): Promise<void> {
    if (this.#kept) this.#kept.etags[part] = etag
    await this.#save()
  }

  /** It is sent, or its addresses are no longer valid. */
  forget(): void {
    this.#kept = undefined
    rmSync(join(this.path, '..'), { recursive: true, force: true })
  }

  release(): void {
    if (!this.#kept) rmSync(join(this.path, '..'), { recursive: true, force: true })
    this.lock.release()
  }

  /** One write after the other. */
  #saving: Promise<void> = Promise.resolve()
  #save(): Promise<void> {
    this.#saving = this.#saving.then(async () => {
      if (!this.#kept) return
      ownCacheFolder('uploads', this.key) // `forget` may have removed it
      await atomicWrite(this.path, JSON.stringify(this.#kept))
    })
    return this.#saving
  }
}

/** The folder is the user's own, but a version that wrote something else may have been there before. */
function read(path: string): Kept | undefined {
  try {
    const kept = JSON.parse(readFileSync(path, 'utf8')) as Kept
    const { href, urls, chunkBytes } = kept.upload
    const known =
      Date.now() - kept.begun < validMs &&
      Array.isArray(urls) &&
      [href, ...urls, ...Object.values(kept.etags)].every((each) => typeof each === 'string') &&
      Number.isSafeInteger(chunkBytes)
    return known ? kept : undefined
  } catch {
    return undefined
  }
}
