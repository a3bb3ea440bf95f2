/**
 * The cache of Hugging Face's tools, so that they find what quench has downloaded and quench what they have:
 *
 *   models--ORG--NAME/blobs/ETAG                     content, by its checksum
 *   models--ORG--NAME/snapshots/COMMIT/PATH          a link to the blob
 *   models--ORG--NAME/refs/REVISION                  the commit of a branch or tag
 *
 * A file that is being downloaded is `blobs/ETAG.quench`: never `ETAG.incomplete`, which other tools continue by its length.
 * Source: docs/source/en/guides/manage-cache.md of huggingface_hub.
 */
import {
  type Dirent,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { basename, dirname, join, relative, sep } from 'node:path'
import { atomicWrite } from '../files.js'
import { makeFolder } from '../folders.js'
import { statIfThere, systemError } from '../system-errors.js'
import { isSafePath, type Repository, type RepositoryFile } from './repository.js'

export class HubCache {
  /** @param root folder of all repositories */
  constructor(readonly root: string) {}

  folder(id: string): string {
    return join(this.root, `models--${id.replaceAll('/', '--')}`)
  }

  blob(id: string, etag: string): string {
    return join(this.folder(id), 'blobs', etag)
  }

  /** Where a file of a commit lies, or would. */
  path(id: string, commit: string, file: string): string {
    return join(this.folder(id), 'snapshots', commit, ...file.split('/'))
  }

  /** Whether a file is complete: as a blob, or on systems without links under its name. */
  has({ id, commit }: Pick<Repository, 'id' | 'commit'>, { path, etag, size }: RepositoryFile): boolean {
    return [this.blob(id, etag), this.path(id, commit, path)].some((place) => {
      const found = statIfThere(place)
      return found?.isFile() === true && found.size === size
    })
  }

  /** What is there of a revision; undefined if nothing is. */
  repository(id: string, revision: string): Repository | undefined {
    const commit = /^[0-9a-f]{40}$/.test(revision) ? revision : this.#commitOf(id, revision)
    if (commit === undefined) return undefined
    const files = filesBelow(join(this.folder(id), 'snapshots', commit))
    return files.length === 0 ? undefined : { id, revision, commit, files, cached: true }
  }

  #commitOf(id: string, revision: string): string | undefined {
    if (!isSafePath(revision)) return undefined
    try {
      const text = readFileSync(join(this.folder(id), 'refs', ...revision.split('/')), 'utf8').trim()
      return /^[0-9a-f]{40}$/.test(text) ? text : undefined
    } catch {
      return undefined
    }
  }

  /** Gives a complete blob its name in the snapshot of its commit. @returns that name */
  link({ id, commit }: Repository, { path, etag }: RepositoryFile): string {
    const blob = this.blob(id, etag)
    const name = this.path(id, commit, path)
    makeFolder(dirname(name))
    const target = relative(dirname(name), blob)
    try {
      const found = lstatSync(name, { throwIfNoEntry: false })
      if (found?.isSymbolicLink() && readlinkSync(name) === target) return name
      if (found?.isFile()) return name // systems without links have the file itself here
      placed(target, blob, name)
      return name
    } catch (error) {
      throw systemError(name, error)
    }
  }

  /** Notes the commit of a branch or tag. */
  async setRef({ id, revision, commit, cached }: Repository): Promise<void> {
    if (cached || revision === commit || !isSafePath(revision)) return
    const path = join(this.folder(id), 'refs', ...revision.split('/'))
    makeFolder(dirname(path))
    if (this.#commitOf(id, revision) !== commit) await atomicWrite(path, commit)
  }
}

export interface CachedFile {
  /** `org/name` */
  readonly id: string
  readonly commit: string
  /** Path within the repository, with slashes. */
  readonly file: string
  /** Of its content, where the Hub keeps the file in large file storage. */
  readonly sha256?: string
}

/** What a path is of a cache like this one, wherever that lies; undefined for any other path. */
export function cachedFile(path: string): CachedFile | undefined {
  try {
    const place = join(realpathSync(dirname(path)), basename(path)).replaceAll(sep, '/')
    const [, folder, commit, file] = /\/models--([^/]+)\/snapshots\/([0-9a-f]{40})\/(.+)$/s.exec(place) ?? []
    const parts = folder?.split('--') ?? []
    if (parts.length < 1 || parts.length > 2 || !isSafePath(file) || !parts.every(isSafePath))
      return undefined
    const found = lstatSync(path)
    const blob = found.isSymbolicLink() ? readlinkSync(path).replaceAll(sep, '/') : ''
    const [, sha256] = /(?:^|\/)blobs\/([0-9a-f]{64})$/.exec(blob) ?? []
    return { id: parts.join('/'), commit, file, ...(sha256 !== undefined && { sha256 }) }
  } catch {
    return undefined // its reader tells why it cannot be looked at
  }
}

/** A link; where the system refuses links, the file itself. */
function placed(target: string, blob: string, name: string): void {
  const temporary = join(dirname(blob), `${basename(blob)}.${process.pid}.link`)
  rmSync(temporary, { force: true })
  try {
    symlinkSync(target, temporary)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) throw error
    renameSync(blob, name)
    return
  }
  renameSync(temporary, name)
}

/** Files below a snapshot with the sizes of what they link to; without links to nothing. */
function filesBelow(folder: string): RepositoryFile[] {
  let entries: Dirent[]
  try {
    entries = readdirSync(folder, { withFileTypes: true, recursive: true })
  } catch {
    return []
  }
  return entries.flatMap((entry) => {
    const path = join(entry.parentPath, entry.name)
    const found = statSync(path, { throwIfNoEntry: false })
    if (!found?.isFile()) return []
    const etag = entry.isSymbolicLink() ? basename(readlinkSync(path)) : ''
    return [{ path: relative(folder, path).replaceAll(sep, '/'), size: found.size, etag }]
  })
}
