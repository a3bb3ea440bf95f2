/**
 * Downloads a file of a repository into the cache: several pieces at once, each kept once it is complete, until the whole has the
 * checksum that the Hub names. The checksum is computed while later pieces are still coming.
 */
import { createHash, type Hash } from 'node:crypto'
import { dirname } from 'node:path'
import { FileError } from '../errors.js'
import { systemError } from '../files.js'
import { freeBytesIn, makeFolder } from '../folders.js'
import { humanBytes } from '../format.js'
import { ofProcess, waitForLock } from '../locks.js'
import type { HubCache } from './cache.js'
import type { HubClient } from './client.js'
import { HubError, Passing } from './errors.js'
import { PartialFile } from './pieces.js'
import { RemoteFile } from './remote-file.js'
import { nameOf, type Repository, type RepositoryFile, sha256Of } from './repository.js'

export interface DownloadOptions {
  /** Pieces that are fetched at once; 4 by default. */
  readonly connections?: number
  /** Bytes of the file that are there, also from earlier tries. */
  readonly onProgress?: (bytes: number) => void
}

const defaultConnections = 4
/** Left free on the disk beside the file. */
const spareBytes = 2 ** 26
const hashedBytes = 2 ** 20

/**
 * The file in the cache, downloaded if it is not there. Processes that want the same file wait for each other.
 * @returns its path in the snapshot
 * @throws HubError, FileError
 */
export async function download(
  hub: HubClient,
  cache: HubCache,
  repository: Repository,
  file: RepositoryFile,
  options: DownloadOptions = {},
): Promise<string> {
  const { id, commit, cached } = repository
  if (cached) return cache.path(id, commit, file.path)
  if (!cache.has(repository, file)) {
    const blob = cache.blob(id, file.etag)
    makeFolder(dirname(blob))
    const name = nameOf(repository, file.path)
    const lock = await waitForLock(
      blob,
      (holder) =>
        hub.note(`${name}: waiting for another quench${ofProcess(holder)}, which is downloading it`),
      hub.signal,
    )
    try {
      if (!cache.has(repository, file)) await fetchBlob(hub, blob, repository, file, options)
    } catch (error) {
      throw systemError(blob, error)
    } finally {
      lock.release()
    }
  }
  options.onProgress?.(file.size)
  return cache.link(repository, file)
}

async function fetchBlob(
  hub: HubClient,
  blob: string,
  repository: Repository,
  file: RepositoryFile,
  { connections = defaultConnections, onProgress }: DownloadOptions,
): Promise<void> {
  const remote = new RemoteFile(hub, repository, file)
  const partial = await PartialFile.open(blob, file.size, sha256Of(file) === undefined)
  let open = true
  try {
    await checkSpace(blob, file.size - partial.doneBytes)
    const digest = await fetchPieces(remote, partial, connections, file, onProgress)
    if (digest !== file.etag) {
      open = false
      await partial.discard(blob)
      throw new HubError(
        remote.name,
        'the bytes that came do not have the checksum that the Hub names, and were removed; try again',
      )
    }
    open = false
    await partial.commit(blob)
  } finally {
    if (open) await partial.close()
  }
}

/** @returns the checksum of all pieces */
async function fetchPieces(
  remote: RemoteFile,
  partial: PartialFile,
  connections: number,
  file: RepositoryFile,
  onProgress?: (bytes: number) => void,
): Promise<string> {
  let bytes = partial.doneBytes
  const arrived = (count: number): void => {
    bytes += count
    onProgress?.(bytes)
  }
  arrived(0)
  const hash = startHash(file)
  let hashed = 0
  let hashing: Promise<void> = Promise.resolve()
  /** Appends complete pieces to the checksum, in order. */
  const advance = (): Promise<void> => {
    hashing = hashing.then(async () => {
      while (hashed < partial.pieces && partial.has(hashed)) await hashPiece(hash, partial, hashed++)
    })
    return hashing
  }
  let next = 0
  let failed = false
  const worker = async (): Promise<void> => {
    while (next < partial.pieces && !failed) {
      const piece = next++
      if (!partial.has(piece)) await fetchPiece(remote, partial, piece, arrived)
      await advance()
    }
  }
  const workers = Array.from({ length: connections }, () =>
    worker().catch((error: unknown) => {
      failed = true
      throw error
    }),
  )
  const ended = await Promise.allSettled(workers)
  const failure = ended.find((one) => one.status === 'rejected')
  if (failure) throw failure.reason
  await advance()
  return hash.digest('hex')
}

/** A try that is cut goes on at the byte where it was. */
async function fetchPiece(
  remote: RemoteFile,
  partial: PartialFile,
  piece: number,
  arrived: (count: number) => void,
): Promise<void> {
  const { start, end } = partial.range(piece)
  let at = start
  await remote.hub.persistently(remote.name, async (advanced) => {
    if (at < end || end === start)
      for await (const chunk of remote.stream(at, end)) {
        await partial.write(chunk, at)
        at += chunk.length
        arrived(chunk.length)
        advanced()
      }
    if (at < end) throw new Passing('the connection was cut')
  })
  await partial.finish(piece)
}

/** SHA-256, or the checksum of a git object, which begins with its kind and size. */
function startHash({ etag, size }: RepositoryFile): Hash {
  return etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
}

async function hashPiece(hash: Hash, partial: PartialFile, piece: number): Promise<void> {
  const { start, end } = partial.range(piece)
  const bytes = new Uint8Array(Math.min(hashedBytes, end - start))
  for (let at = start; at < end; ) {
    const read = await partial.read(bytes.subarray(0, Math.min(bytes.length, end - at)), at)
    if (read === 0) throw new FileError(partial.path, 'the file became shorter while it was read')
    hash.update(bytes.subarray(0, read))
    at += read
  }
}

async function checkSpace(blob: string, needed: number): Promise<void> {
  const free = await freeBytesIn(dirname(blob))
  if (needed + spareBytes <= free) return
  throw new FileError(
    dirname(blob),
    `${humanBytes(needed)} are still to come and the disk has ${humanBytes(free)} free; make room, or set HF_HOME to a folder on another disk`,
  )
}
