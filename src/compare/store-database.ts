/**
 * The store's database file: created complete, migrated to the current layout, with SQLite's errors turned into sentences.
 *
 * It uses a rollback journal instead of a write-ahead log: writes are few, and an extra file exists only during a transaction,
 * however the process ends.
 */
import { link, stat } from 'node:fs/promises'
import type Database from 'libsql'
import { FileError, QuenchError } from '../errors.js'
import { discardTemporary, systemError, temporaryPath } from '../files.js'

/** Marks the database as quench's ("qnch"), so that another program's is never written to. */
const applicationId = 0x716e6368

/**
 * Migration from each layout to the next; the first is from layout 0, an empty file. The layout of a file is its
 * `user_version`. A released step is never changed: append a new one.
 */
const steps: readonly string[] = [
  `CREATE TABLE measurements(
     key TEXT PRIMARY KEY, kind TEXT NOT NULL, inputs TEXT NOT NULL, value TEXT NOT NULL,
     made TEXT NOT NULL, times INTEGER NOT NULL DEFAULT 1) STRICT;
   CREATE TABLE files(
     path TEXT PRIMARY KEY, size TEXT NOT NULL, modified TEXT NOT NULL, inode TEXT NOT NULL,
     hash TEXT NOT NULL) STRICT;`,
  // Their keys lacked the contents of training text, the round's other files, or the machine; `modified` lacked the inode's
  // change time.
  `DELETE FROM measurements WHERE kind NOT IN ('quantize', 'tensors');
   DELETE FROM files;`,
]
const layoutVersion = steps.length

const unwritable =
  'this store cannot be written; check the disk and who owns the file and its folder, or choose another with --store'

type Library = typeof Database

/** How long a transaction waits for other processes, ms. */
const patience = 30_000

/** Opens or creates the database. @throws FileError if the file is damaged or is something else */
export async function openDatabase(path: string): Promise<Database.Database> {
  const { default: library } = await import('libsql')
  if (!(await isFile(path))) await makeWhole(path, library)
  return guarded(path, () => {
    const database = connect(path, path, library)
    try {
      prepare(path, database)
      return database
    } catch (error) {
      database.close()
      throw error
    }
  })
}

/** Whether the file exists. @throws FileError if it is not a regular file */
async function isFile(path: string): Promise<boolean> {
  try {
    const state = await stat(path)
    if (state.isDirectory())
      throw new FileError(path, 'this is a folder; give the name of a file with --store')
    if (!state.isFile()) throw new FileError(path, 'this is not a regular file; choose another with --store')
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
    throw systemError(path, error)
  }
}

/**
 * Creates the database under a temporary name and hard-links it to its final name, so that no process sees it without its
 * tables; of two processes that create it at once, one opens the other's. On a file system without hard links it is created in
 * place when opened.
 */
async function makeWhole(path: string, library: Library): Promise<void> {
  const temporary = temporaryPath(path)
  try {
    guarded(path, () => {
      const database = connect(path, temporary, library)
      try {
        database.pragma('journal_mode = MEMORY') // so that a kill leaves only one file
        prepare(path, database)
      } finally {
        database.close()
      }
    })
    await link(temporary, path).catch(() => {})
  } finally {
    await discardTemporary(temporary)
  }
}

/** Replaces libsql's own message by SQLite's reason. @throws FileError about `path` if `file` cannot be opened */
function connect(path: string, file: string, Library: Library): Database.Database {
  try {
    return new Library(file)
  } catch (error) {
    throw new FileError(path, unwritable, { cause: error })
  }
}

/** Checks that the database is valid and writable, and migrates it to the current layout. */
function prepare(path: string, database: Database.Database): void {
  database.pragma(`busy_timeout = ${patience}`)
  layoutOf(path, database)
  transaction(database, () => {
    const layout = layoutOf(path, database) // read while no other process can change it
    database.exec(steps.slice(layout).join('\n'))
    // Written even if unchanged, so that a read-only database fails before there is something to store.
    database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${layoutVersion};`)
  })
  if (pragma(database, 'quick_check') !== 'ok') throw damaged(path)
  if (pragma(database, 'journal_mode') === 'wal') {
    try {
      database.pragma('journal_mode = DELETE')
    } catch (error) {
      if (!isBusy(error)) throw error // an older quench has it open; the next process to open it alone migrates it
    }
  }
}

/** 0 for a database without tables. @throws FileError for a database of another program or a newer quench */
function layoutOf(path: string, database: Database.Database): number {
  const { tables } = database
    .prepare("SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table'")
    .get() as { tables: number }
  if (tables === 0) return 0
  if (pragma(database, 'application_id') !== applicationId)
    throw new FileError(path, 'this is a database of another program; choose another file with --store')
  const layout = pragma(database, 'user_version') as number
  if (layout > layoutVersion)
    throw new FileError(
      path,
      'this store was written by a later version of quench; use that, or choose another file with --store',
    )
  return layout
}

function pragma(database: Database.Database, name: string): unknown {
  return (database.prepare(`PRAGMA ${name}`).get() as Record<string, unknown>)[name]
}

/**
 * Runs `work` in a transaction that takes the write lock at its start, so that it never waits in the middle. libsql's own
 * `transaction` hides an error after which SQLite has rolled back by itself, e.g. a full disk, behind the failure of a second
 * rollback.
 */
export function transaction(database: Database.Database, work: () => void): void {
  database.exec('BEGIN IMMEDIATE')
  try {
    work()
    database.exec('COMMIT')
  } catch (error) {
    try {
      database.exec('ROLLBACK')
    } catch {
      // There is nothing left to roll back; the first error has the reason.
    }
    throw error
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : ''
const isBusy = (error: unknown): boolean => /^SQLITE_(BUSY|LOCKED)/.test(codeOf(error))

/** Parses the JSON of a row. @throws FileError if it is not JSON */
export function parsed(path: string, value: string): unknown {
  try {
    return JSON.parse(value)
  } catch (error) {
    throw damaged(path, error)
  }
}

const damaged = (path: string, cause?: unknown): FileError =>
  new FileError(
    path,
    'this store of measurements is damaged or no store; delete it, or choose another with --store',
    { cause },
  )

/** Runs `work`; SQLite's errors about the file become sentences for the user. */
export function guarded<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const code = codeOf(error)
    if (error instanceof QuenchError || !code.startsWith('SQLITE')) throw error
    const problem = (text: string): FileError => new FileError(path, text, { cause: error })
    if (/^SQLITE_(CORRUPT|NOTADB|FORMAT)/.test(code)) throw damaged(path, error)
    if (isBusy(error))
      throw problem(
        `another quench has been writing to this store for ${patience / 1000} s; wait for it, or choose another with --store`,
      )
    if (code.startsWith('SQLITE_FULL'))
      throw problem(
        'this store cannot grow, since the disk is full; make room, or choose another with --store',
      )
    if (/^SQLITE_(IOERR|CANTOPEN|READONLY|PERM|AUTH)/.test(code)) throw problem(unwritable)
    throw problem(`this store cannot be used (${(error as Error).message})`)
  }
}
