/** Lists and clears the cache folder. Only files made by quench are removed, and never through a link. */
import { type Dirent, lstatSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder, checkOwner, probeModel, refreshedFamilies } from './cache-folder.js'
import { FileError } from './errors.js'
import { isTemporary, systemError } from './files.js'
import { type Lock, lockPath, ofProcess, tryLock } from './locks.js'

/** Self-written texts, converted checkpoints and unfinished uploads, one folder each; the store of measurements; the refreshed catalogue; files not made by quench. */
export type CacheKind = 'text' | 'converted' | 'uploads' | 'measurements' | 'catalogue' | 'other'

export interface CacheEntry {
  readonly kind: CacheKind
  readonly path: string
  readonly files: number
  readonly bytes: number
  /** When it was last read or written, by the file's times; ISO 8601. */
  readonly lastUse: string
}

export interface CacheListing {
  readonly folder: string
  readonly bytes: number
  readonly entries: readonly CacheEntry[]
}

const store = 'measurements.db'

/** Folders of entries, each of which is a folder named by a hash. */
const folders = [
  { name: 'text', kind: 'text', isPart: (entry: Dirent) => isPart(entry) },
  { name: 'converted', kind: 'converted', isPart: (entry: Dirent) => isConverted(entry) },
  { name: 'uploads', kind: 'uploads', isPart: (entry: Dirent) => isUpload(entry) },
] as const

interface Found {
  readonly kind: CacheKind
  readonly path: string
  readonly files: readonly string[]
}

/** @throws FileError for a cache of another user */
export function listCache(): CacheListing {
  const entries = found().map(entryOf)
  return {
    folder: cacheFolder(),
    bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0),
    entries: entries.sort((a, b) => b.bytes - a.bytes),
  }
}

function entryOf({ kind, path, files }: Found): CacheEntry {
  const stats = files.flatMap((file) => lstatSync(file, { throwIfNoEntry: false }) ?? [])
  // Of the folder the time of access would be that of this listing.
  const own = lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
  const times = stats.map(({ atimeMs, mtimeMs }) => Math.max(atimeMs, mtimeMs))
  return {
    kind,
    path,
    files: files.length,
    bytes: stats.reduce((sum, { size }) => sum + size, 0),
    lastUse: new Date(Math.max(own, ...times)).toISOString(),
  }
}

/**
 * Removes entries of a kind that were not used for so long, the oldest first, until all that are left take no more than `most` bytes.
 * What another process uses stays.
 */
export async function trimCache(kind: CacheKind, most: number, idleMs: number): Promise<void> {
  const all = found()
    .filter((each) => each.kind === kind)
    .map((each) => ({ ...entryOf(each), paths: each.files }))
  let total = all.reduce((sum, { bytes }) => sum + bytes, 0)
  const idle = all.filter(({ lastUse }) => Date.now() - Date.parse(lastUse) >= idleMs)
  for (const { path, paths, bytes } of idle.sort((a, b) => Date.parse(a.lastUse) - Date.parse(b.lastUse))) {
    if (total <= most) return
    const lock = await tryLock(path)
    if (!('release' in lock)) continue
    try {
      remove(path, paths)
    } catch (error) {
      throw systemError(path, error)
    } finally {
      lock.release()
    }
    total -= bytes
  }
}

/**
 * Removes quench's files from the cache folder, and returns a list of them.
 * @throws FileError, and removes nothing, while another process uses any of them
 */
export async function clearCache(): Promise<CacheListing> {
  const listing = listCache()
  const all = found().filter(({ kind }) => kind !== 'other')
  const locks: Lock[] = []
  try {
    for (const { path } of all) {
      const lock = await tryLock(path)
      if (!('release' in lock))
        throw new FileError(
          path,
          `another quench${ofProcess(lock.holder)} is using this; wait until it is done`,
        )
      locks.push(lock)
    }
    for (const { path, files } of all) remove(path, files)
  } catch (error) {
    throw systemError(listing.folder, error)
  } finally {
    for (const lock of locks) lock.release()
  }
  for (const { name } of folders) removeEmpty(join(listing.folder, name))
  const entries = listing.entries.filter(({ kind }) => kind !== 'other')
  return { ...listing, entries, bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0) }
}

/** Removes an entry, but not what is in its folder and not of quench. */
function remove(path: string, files: readonly string[]): void {
  for (const file of files) unlinkSync(file)
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) removeEmpty(path)
}

/** Removes a folder if it is empty. */
function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // It contains other files, or does not exist.
  }
}

function found(): Found[] {
  const folder = cacheFolder()
  checkOwner(folder, false)
  const inFolder = within(folder)
  const kept = folders.map((each) => entriesOf(folder, each))
  const all = kept.flatMap(({ entries }) => entries)
  const measured = inFolder.filter(isMeasured).map(pathOf)
  const path = join(folder, store)
  const isLock = ({ name }: Dirent): boolean => pathOf({ parentPath: folder, name }) === lockPath(path)
  if (measured.length > 0 || inFolder.some(isLock)) all.push({ kind: 'measurements', path, files: measured })
  const refreshed = inFolder.filter(isRefreshed).map(pathOf)
  for (const each of refreshed) all.push({ kind: 'catalogue', path: each, files: [each] })
  const isFolder = (name: string): boolean => folders.some((each) => each.name === name)
  const others = [
    ...inFolder.filter(
      (entry) => ![isMeasured, isLock, isRefreshed].some((is) => is(entry)) && !isFolder(entry.name),
    ),
    ...kept.flatMap(({ others }) => others),
  ]
  const file = (each: string): string[] => (lstatSync(each).isFile() ? [each] : [])
  return [
    ...all,
    ...others.map(pathOf).map((each): Found => ({ kind: 'other', path: each, files: file(each) })),
  ]
}

/** Of one of the folders its entries, and what is not of quench. */
function entriesOf(
  cache: string,
  { name: own, kind, isPart }: (typeof folders)[number],
): { entries: Found[]; others: Dirent[] } {
  const folder = join(cache, own)
  checkOwner(folder)
  const written = within(folder)
  const isEntry = ({ name }: Dirent): boolean => /^[0-9a-f]{32}$/.test(name)
  // A killed process leaves its lock, which is removed with its entry, even if that no longer exists.
  const names = written.filter((entry) => isEntry(entry) && entry.isDirectory()).map(({ name }) => name)
  const locked = written.flatMap(({ name }) => /^\.([0-9a-f]{32})\.lock$/.exec(name)?.[1] ?? [])
  const entries = [...new Set([...names, ...locked])].map((name): Found => {
    const path = join(folder, name)
    return { kind, path, files: within(path).filter(isPart).map(pathOf) }
  })
  const others = [
    ...written.filter(({ name }) => !names.includes(name) && !/^\.[0-9a-f]{32}\.lock$/.test(name)),
    ...names.flatMap((name) => within(join(folder, name)).filter((entry) => !isPart(entry))),
  ]
  return { entries, others }
}

/** A model that was made of a checkpoint (convert/cached.ts), and what is beside it while it is written. */
const isConverted = (entry: Dirent): boolean =>
  entry.isFile() &&
  (/\.gguf$/.test(entry.name) || /^\..*\.(lock|room)$/s.test(entry.name) || isTemporary(entry.name))

/** What is known of an upload (hub/upload/journal.ts). */
const isUpload = (entry: Dirent): boolean =>
  entry.isFile() && (entry.name === 'parts.json' || isTemporary(entry.name))

/** A part of a text (text-cache.ts), space reserved for one, or a copy of the model that writes. */
const isPart = (entry: Dirent): boolean =>
  entry.isFile() &&
  (/^\d+-\d+\.tokens$/.test(entry.name) ||
    /^\.\d+-\d+\.tokens\.room$/.test(entry.name) ||
    isTemporary(entry.name))

/** The store, SQLite's auxiliary files, and the model of a probe that was killed. */
const isMeasured = (entry: Dirent): boolean =>
  entry.isFile() &&
  (['', '-wal', '-shm', '-journal'].some((ending) => entry.name === store + ending) ||
    entry.name === probeModel ||
    isTemporary(entry.name))

const isRefreshed = (entry: Dirent): boolean => entry.isFile() && entry.name === refreshedFamilies

const pathOf = ({ parentPath, name }: Pick<Dirent, 'parentPath' | 'name'>): string => join(parentPath, name)

function within(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw systemError(folder, error)
  }
}
