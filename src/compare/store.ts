/**
 * What was measured, kept: an embedded SQLite database (libsql), so that nothing is measured twice and an interrupted
 * comparison goes on where it stopped.
 *
 * A measurement is found again by what it depends on: its kind, the contents of its files (SHA-256), its settings and
 * the versions of what measures, all in one JSON text whose hash is the key. It is written in one transaction when it is
 * done, so a process that is killed leaves it either there or not.
 *
 *   measurements(key, kind, inputs, value, made, times)   `times`: how often it was measured, which should stay 1
 *   files(path, size, modified, inode, hash)              hashes of files that have not changed since
 */
import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import Database from 'libsql'
import { FileError, QuenchError } from '../errors.js'
import { systemError } from '../files.js'
import { openGguf } from '../gguf/index.js'

/** Marks the database as one of quench ("qnch"), so that another program's is never written to. */
const applicationId = 0x716e6368
const layoutVersion = 1

/** What a measurement depends on. */
export type Inputs = Readonly<Record<string, unknown>>

export class Store {
  private constructor(
    readonly path: string,
    private readonly database: Database.Database,
  ) {}

  /** Opens or makes the database. @throws FileError if the file is damaged or is something else */
  static open(path: string): Store {
    try {
      mkdirSync(dirname(path), { recursive: true })
      if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
        throw new FileError(path, 'this is a folder; give the name of a file with --store')
    } catch (error) {
      throw systemError(path, error)
    }
    return guarded(path, () => {
      const database = new Database(path)
      try {
        prepare(path, database)
      } catch (error) {
        database.close()
        throw error
      }
      return new Store(path, database)
    })
  }

  /** The measurement, if it was made before. */
  get<T>(kind: string, inputs: Inputs): T | undefined {
    return guarded(this.path, () => {
      const row = this.database
        .prepare('SELECT value FROM measurements WHERE key = ?')
        .get(keyOf(kind, inputs)) as { value: string } | undefined
      return row && (JSON.parse(row.value) as T)
    })
  }

  /** Keeps a measurement, whole or not at all. */
  put(kind: string, inputs: Inputs, value: unknown): void {
    this.putAll([{ kind, inputs, value }])
  }

  /** Keeps several together: all or none. */
  putAll(measurements: readonly { kind: string; inputs: Inputs; value: unknown }[]): void {
    guarded(this.path, () => {
      const insert = this.database.prepare(
        'INSERT INTO measurements(key, kind, inputs, value, made) VALUES (?, ?, ?, ?, ?) ' +
          'ON CONFLICT(key) DO UPDATE SET times = times + 1',
      )
      const made = new Date().toISOString()
      this.database.transaction(() => {
        for (const { kind, inputs, value } of measurements)
          insert.run(keyOf(kind, inputs), kind, canonical(inputs), JSON.stringify(value), made)
      })()
    })
  }

  /** The measurement from the store, or made now and kept. */
  async once<T>(kind: string, inputs: Inputs, measure: () => Promise<T>): Promise<T> {
    const known = this.get<T>(kind, inputs)
    if (known !== undefined) return known
    this.put(kind, inputs, await measure())
    return this.get<T>(kind, inputs) as T // as JSON gives it back, so that both ways are the same
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

  private async hashOfFile(path: string): Promise<string> {
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
    const hash = await contentHash(whole)
    // A file that changed while it was read has no hash worth keeping.
    if (stateOf(whole).join() === state.join())
      guarded(this.path, () =>
        this.database
          .prepare('INSERT OR REPLACE INTO files(path, size, modified, inode, hash) VALUES (?, ?, ?, ?, ?)')
          .run(whole, ...state, hash),
      )
    return hash
  }

  /** Number of measurements, and of those that were made again. */
  count(): { measurements: number; repeated: number } {
    return guarded(this.path, () => {
      const { measurements, repeated } = this.database
        .prepare('SELECT count(*) AS measurements, coalesce(sum(times - 1), 0) AS repeated FROM measurements')
        .get() as { measurements: number; repeated: number }
      return { measurements, repeated }
    })
  }

  /** Moves what is in the write-ahead log into the file, which then is all there is, and closes. */
  close(): void {
    try {
      this.database.pragma('wal_checkpoint(TRUNCATE)')
    } catch {
      // Damaged, which has been told, or another process is at it: the log then stays beside the file.
    }
    this.database.close()
  }
}

function prepare(path: string, database: Database.Database): void {
  database.pragma('busy_timeout = 10000')
  const pragma = (name: string): unknown =>
    (database.prepare(`PRAGMA ${name}`).get() as Record<string, unknown>)[name]
  const tables = database.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table'").get() as {
    n: number
  }
  if (tables.n > 0 && pragma('application_id') !== applicationId)
    throw new FileError(path, 'this is a database of another program; choose another file with --store')
  if (tables.n > 0 && pragma('user_version') !== layoutVersion)
    throw new FileError(path, 'this store is of another version of quench; choose another file with --store')
  if (pragma('quick_check') !== 'ok') throw damaged(path)
  database.pragma('journal_mode = WAL')
  database.pragma('synchronous = NORMAL')
  database.transaction(() => {
    database.exec(`
      PRAGMA application_id = ${applicationId};
      PRAGMA user_version = ${layoutVersion};
      CREATE TABLE IF NOT EXISTS measurements(
        key TEXT PRIMARY KEY, kind TEXT NOT NULL, inputs TEXT NOT NULL, value TEXT NOT NULL,
        made TEXT NOT NULL, times INTEGER NOT NULL DEFAULT 1) STRICT;
      CREATE TABLE IF NOT EXISTS files(
        path TEXT PRIMARY KEY, size TEXT NOT NULL, modified TEXT NOT NULL, inode TEXT NOT NULL,
        hash TEXT NOT NULL) STRICT;`)
  })()
}

const damaged = (path: string, cause?: unknown): FileError =>
  new FileError(
    path,
    'this store of measurements is damaged or no store; delete it, or choose another with --store',
    { cause },
  )

/** What SQLite reports about the file in a sentence for a person. */
function guarded<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (error instanceof QuenchError || !code.startsWith('SQLITE')) throw error
    if (/^SQLITE_(CORRUPT|NOTADB|FORMAT)/.test(code)) throw damaged(path, error)
    if (/^SQLITE_BUSY|^SQLITE_LOCKED/.test(code))
      throw new FileError(path, 'another quench is writing to this store; wait for it, or choose another')
    if (/^SQLITE_FULL|^SQLITE_IOERR/.test(code))
      throw new FileError(path, 'this store cannot be written; check the disk', { cause: error })
    throw new FileError(path, `this store cannot be used (${(error as Error).message})`, { cause: error })
  }
}

const stateOf = (path: string): [size: string, modified: string, inode: string] => {
  try {
    const { size, mtimeNs, ino } = statSync(path, { bigint: true })
    return [String(size), String(mtimeNs), String(ino)]
  } catch (error) {
    throw systemError(path, error)
  }
}

async function contentHash(path: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk as Buffer)
  } catch (error) {
    throw systemError(path, error)
  }
  return hash.digest('hex')
}

function keyOf(kind: string, inputs: Inputs): string {
  return createHash('sha256')
    .update(`${kind}\n${canonical(inputs)}`)
    .digest('hex')
}

/** JSON with sorted keys: the same inputs give the same text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
