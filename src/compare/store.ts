/**
 * Store of measurements: an embedded SQLite database (libsql), so that nothing is measured twice and an interrupted comparison
 * resumes.
 *
 * The key of a measurement is the hash of a JSON text of everything it depends on: its kind, the contents of its files
 * (SHA-256), its settings, the machine if that matters, and the versions of the measuring software. A measurement is written
 * in one transaction when it is complete, so a killed process leaves all of it or nothing. A comparison locks its store; any
 * other process with the database open waits for a transaction.
 *
 *   measurements(key, kind, inputs, value, made, times)   `times`: how often it was measured, which should stay 1
 *   files(path, size, modified, inode, hash)              hashes of files, valid while the other columns match
 */

import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type Database from 'libsql'
import { cacheFolder, checkOwner, ownCacheFolder } from '../cache-folder.js'
import { systemError } from '../files.js'
import { makeFolder } from '../folders.js'
import { openGguf } from '../gguf/index.js'
import { fileHash } from '../hashes.js'
import type { Output } from '../outputs.js'
import { guarded, openDatabase, parsed, transaction } from './store-database.js'

/** Default path of the store. */
export const defaultStore = (): string => join(cacheFolder(), 'measurements.db')

/** The store as an output of a command. @param path default: that of the cache folder */
export function storeOutput(path = defaultStore()): Output {
  const files = ['-wal', '-shm', '-journal'].map((ending) => path + ending)
  return { path, by: '--store', files, doing: 'using this store' }
}

/** Makes the folder of the store, which is locked before it is opened. */
export function makeStoreFolder(path: string | undefined): void {
  if (path === undefined) {
    ownCacheFolder()
    checkOwner(defaultStore())
  } else makeFolder(dirname(path))
}

/** Everything that a measurement depends on. */
export type Inputs = Readonly<Record<string, unknown>>

export class Store {
  private constructor(
    readonly path: string,
    private readonly database: Database.Database,
  ) {}

  /** Opens or creates the database. @throws FileError if the file is damaged or is something else */
  static async open(path: string): Promise<Store> {
    makeFolder(dirname(path))
    return new Store(path, await openDatabase(path))
  }

  /** Opens the store at a path, by default that of the cache folder, for the work. */
  static async with<T>(path: string | undefined, work: (store: Store) => Promise<T>): Promise<T> {
    makeStoreFolder(path)
    const store = await Store.open(path ?? defaultStore())
    try {
      return await work(store)
    } finally {
      store.close()
    }
  }

  /** The measurement, if it is stored. */
  get<T>(kind: string, inputs: Inputs): T | undefined {
    return guarded(this.path, () => {
      const row = this.database
        .prepare('SELECT value FROM measurements WHERE key = ?')
        .get(keyOf(kind, inputs)) as { value: string } | undefined
      return row && (parsed(this.path, row.value) as T)
    })
  }

  /** Stores a measurement, completely or not at all. */
  put(kind: string, inputs: Inputs, value: unknown): void {
    this.putAll([{ kind, inputs, value }])
  }

  /** Stores several measurements: all or none. */
  putAll(measurements: readonly { kind: string; inputs: Inputs; value: unknown }[]): void {
    guarded(this.path, () => {
      const insert = this.database.prepare(
        'INSERT INTO measurements(key, kind, inputs, value, made) VALUES (?, ?, ?, ?, ?) ' +
          'ON CONFLICT(key) DO UPDATE SET times = times + 1',
      )
      const made = new Date().toISOString()
      transaction(this.database, () => {
        for (const { kind, inputs, value } of measurements)
          insert.run(keyOf(kind, inputs), kind, canonical(inputs), JSON.stringify(value), made)
      })
    })
  }

  /** The stored measurement; if there is none, measures and stores it. */
  async once<T>(kind: string, inputs: Inputs, measure: () => Promise<T>): Promise<T> {
    const known = this.get<T>(kind, inputs)
    if (known !== undefined) return known
    this.put(kind, inputs, await measure())
    return this.get<T>(kind, inputs) as T // parsed from JSON, so that both paths return the same
  }

  /** SHA-256 of a model file, of all parts if it is split; read again only if it has changed. */
  async hashOf(path: string): Promise<string> {
    const gguf = await openGguf(path)
    const files = gguf.files
    await gguf.close()
    const hashes: string[] = []
    for (const file of files) hashes.push(await this.hashOfFile(file))
    return hashes.length === 1 ? hashes[0] : createHash('sha256').update(hashes.join()).digest('hex')
  }

  /** SHA-256 of a file; read again only if it has changed. */
  async hashOfFile(path: string): Promise<string> {
    const whole = resolve(path)
    const state = stateOf(whole)
    const known = guarded(
      this.path,
      () =>
        this.database
          .prepare('SELECT hash FROM files WHERE path = ? AND size = ? AND modified = ? AND inode = ?')
          .get(whole, ...state) as { hash: string } | undefined,
    )
    if (known) return known.hash
    const hash = await fileHash(whole)
    // Do not keep the hash of a file that changed while it was read.
    if (stateOf(whole).join() === state.join())
      guarded(this.path, () =>
        this.database
          .prepare('INSERT OR REPLACE INTO files(path, size, modified, inode, hash) VALUES (?, ?, ?, ?, ?)')
          .run(whole, ...state, hash),
      )
    return hash
  }

  /** All measurements of a kind, the oldest first. */
  list<T>(kind: string): { readonly inputs: Inputs; readonly value: T; readonly made: string }[] {
    return guarded(this.path, () => {
      const rows = this.database
        .prepare('SELECT inputs, value, made FROM measurements WHERE kind = ? ORDER BY made, key')
        .all(kind) as { inputs: string; value: string; made: string }[]
      return rows.map(({ inputs, value, made }) => ({
        inputs: parsed(this.path, inputs) as Inputs,
        value: parsed(this.path, value) as T,
        made,
      }))
    })
  }

  /** Paths at which files of this content were seen; they may have changed since. */
  pathsOf(hash: string): string[] {
    return guarded(this.path, () => {
      const rows = this.database.prepare('SELECT path FROM files WHERE hash = ? ORDER BY path').all(hash)
      return (rows as { path: string }[]).map(({ path }) => path)
    })
  }

  /** Number of measurements, and of those that were repeated. */
  count(): { measurements: number; repeated: number } {
    return guarded(this.path, () => {
      const { measurements, repeated } = this.database
        .prepare('SELECT count(*) AS measurements, coalesce(sum(times - 1), 0) AS repeated FROM measurements')
        .get() as { measurements: number; repeated: number }
      return { measurements, repeated }
    })
  }

  close(): void {
    this.database.close()
  }
}

/** Includes the inode's change time as well as the modification time, which programs can set. */
const stateOf = (path: string): [size: string, modified: string, inode: string] => {
  try {
    const { size, mtimeNs, ctimeNs, ino } = statSync(path, { bigint: true })
    return [String(size), `${mtimeNs} ${ctimeNs}`, String(ino)]
  } catch (error) {
    throw systemError(path, error)
  }
}

function keyOf(kind: string, inputs: Inputs): string {
  return createHash('sha256')
    .update(`${kind}\n${canonical(inputs)}`)
    .digest('hex')
}

/** JSON with sorted keys: equal inputs yield equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
