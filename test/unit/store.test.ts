import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import Database from 'libsql'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Store } from '../../src/compare/store.js'
import { FileError } from '../../src/errors.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
})
afterAll(() => rm(folder, { recursive: true }))

test('what was measured is found again by what it depends on', async () => {
  const path = join(folder, 'new', 'measurements.db') // makes the folder
  let store = await Store.open(path)
  let runs = 0
  const measure = async () => ({ value: ++runs, more: [1, 2] })
  const inputs = { file: 'abc', settings: { b: 2, a: 1 } }
  expect(await store.once('kind', inputs, measure)).toEqual({ value: 1, more: [1, 2] })
  store.close()
  store = await Store.open(path)
  const sameInAnotherOrder = { settings: { a: 1, b: 2 }, file: 'abc' }
  expect(await store.once('kind', sameInAnotherOrder, measure)).toEqual({ value: 1, more: [1, 2] })
  expect(await store.once('other', inputs, measure)).toMatchObject({ value: 2 })
  expect(await store.once('kind', { ...inputs, file: 'abd' }, measure)).toMatchObject({ value: 3 })
  expect(store.count()).toEqual({ measurements: 3, repeated: 0 })
  store.put('kind', inputs, { value: 9 })
  expect(store.get('kind', inputs)).toMatchObject({ value: 1 }) // the first stays
  expect(store.count()).toEqual({ measurements: 3, repeated: 1 })
  store.close()
})

test('a measurement that fails is not kept; several are kept together or not at all', async () => {
  const store = await Store.open(join(folder, 'fails.db'))
  await expect(store.once('kind', {}, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  const circular: { self?: unknown } = {}
  circular.self = circular
  expect(() =>
    store.putAll([
      { kind: 'a', inputs: {}, value: 1 },
      { kind: 'b', inputs: {}, value: circular },
    ]),
  ).toThrow()
  expect(store.count().measurements).toBe(0)
  store.close()
})

test('the hash of a file is that of its contents, and is read again when it has changed', async () => {
  const store = await Store.open(join(folder, 'hashes.db'))
  const [a, b] = [join(folder, 'a.gguf'), join(folder, 'b.gguf')]
  await writeTinyGguf(a)
  await writeTinyGguf(b)
  const first = await store.hashOf(a)
  expect(first).toMatch(/^[0-9a-f]{64}$/)
  expect(await store.hashOf(b)).toBe(first)
  await writeTinyGguf(a, { seed: 5 })
  await utimes(a, 1, 1)
  expect(await store.hashOf(a)).not.toBe(first)
  await expect(store.hashOf(join(folder, 'none.gguf'))).rejects.toThrow(/none\.gguf: no such file/)
  store.close()
})

test('a damaged store, another program’s and a folder are told in one sentence', async () => {
  const damaged = join(folder, 'damaged.db')
  await writeFile(damaged, 'this is no database, whatever its name is. '.repeat(200))
  await expect(Store.open(damaged)).rejects.toThrow(
    /damaged\.db: this store of measurements is damaged or no store; delete it/,
  )
  const cut = join(folder, 'cut.db')
  const store = await Store.open(cut)
  for (let i = 0; i < 50; i++) store.put('kind', { i }, 'x'.repeat(2000))
  store.close()
  await truncate(cut, 9000)
  await expect(
    Store.open(cut).then((opened) => {
      opened.get('kind', { i: 49 })
    }),
  ).rejects.toThrow(/cut\.db: this store of measurements is damaged/)
  const foreign = join(folder, 'foreign.db')
  const database = new Database(foreign)
  database.exec('CREATE TABLE bookmarks(url TEXT)')
  database.close()
  await expect(Store.open(foreign)).rejects.toThrow(/foreign\.db: this is a database of another program/)
  await expect(Store.open(folder)).rejects.toThrow(FileError)
  await expect(Store.open(folder)).rejects.toThrow(/this is a folder/)
  if (process.platform !== 'win32')
    await expect(Store.open('/dev/null')).rejects.toThrow(/null: this is not a regular file/)
  if (process.platform === 'linux')
    await expect(Store.open('/proc/store.db')).rejects.toThrow(
      /^\/proc\/store\.db: this store cannot be written; check the disk/,
    )
  const broken = join(folder, 'broken.db')
  const own = await Store.open(broken)
  own.put('kind', {}, 1)
  own.close()
  run(broken, "UPDATE measurements SET value = '{'")
  const opened = await Store.open(broken)
  expect(() => opened.get('kind', {})).toThrow(/broken\.db: this store of measurements is damaged/)
  opened.close()
})

/** Runs SQL on a database behind the store's back. */
function run(path: string, sql: string): void {
  const database = new Database(path)
  database.exec(sql)
  database.close()
}

/** The first layout, as released in 0.1.0. */
const layout1 = `
  PRAGMA journal_mode = WAL;
  PRAGMA application_id = 0x716e6368;
  PRAGMA user_version = 1;
  CREATE TABLE measurements(
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, inputs TEXT NOT NULL, value TEXT NOT NULL,
    made TEXT NOT NULL, times INTEGER NOT NULL DEFAULT 1) STRICT;
  CREATE TABLE files(
    path TEXT PRIMARY KEY, size TEXT NOT NULL, modified TEXT NOT NULL, inode TEXT NOT NULL,
    hash TEXT NOT NULL) STRICT;
  INSERT INTO measurements(key, kind, inputs, value, made) VALUES
    ('ef01', 'bench', '{}', '2', '2026-09-01'),
    ('KEY', 'quantize', '{"type":"Q4_0"}', '{"hash":"ab"}', '2026-09-01');
  INSERT INTO files VALUES ('/a.gguf', '1', '1', '1', 'cd');`

test('a store of the first layout is brought up to the present one; a later one is told in a sentence', async () => {
  const path = join(folder, 'old.db')
  const key = createHash('sha256').update('quantize\n{"type":"Q4_0"}').digest('hex')
  run(path, layout1.replace("'KEY'", `'${key}'`))
  const store = await Store.open(path)
  expect(store.get('quantize', { type: 'Q4_0' })).toEqual({ hash: 'ab' })
  expect(store.count()).toEqual({ measurements: 1, repeated: 0 })
  store.put('bench', {}, 3)
  store.close()
  expect((await readdir(folder)).filter((name) => name.startsWith('old.db'))).toEqual(['old.db'])
  run(path, 'PRAGMA user_version = 99')
  await expect(Store.open(path)).rejects.toThrow(
    /old\.db: this store was written by a later version of quench/,
  )
})

test('a full disk is told in one sentence, and the store stays whole', async () => {
  const path = join(folder, 'full.db')
  const store = await Store.open(path)
  store.put('kind', { i: 0 }, 'first')
  const { database } = store as unknown as { database: Database.Database }
  database.pragma('max_page_count = 8') // more pages: SQLITE_FULL, as from a full disk
  expect(() => store.put('kind', { i: 1 }, 'x'.repeat(100_000))).toThrow(
    /full\.db: this store cannot grow, since the disk is full/,
  )
  store.put('kind', { i: 2 }, 'last')
  expect([0, 1, 2].map((i) => store.get('kind', { i }))).toEqual(['first', undefined, 'last'])
  store.close()
})

test('processes that make and fill a store at once all find it whole, and nothing stays beside it', async () => {
  const inside = join(folder, 'shared')
  await mkdir(inside)
  const path = join(inside, 'shared.db')
  const module = new URL('../../src/compare/store.ts', import.meta.url)
  const code = `
    const { Store } = await import(${JSON.stringify(module)})
    const store = await Store.open(${JSON.stringify(path)})
    for (let i = 0; i < 20; i++) store.put('kind', { i, by: process.pid }, i)
    store.close()`
  const loader = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', code]
  let running = 3
  const ends = Array.from({ length: running }, async () => {
    const child = spawn(process.execPath, loader, { stdio: ['ignore', 'inherit', 'inherit'] })
    const [exit] = (await once(child, 'exit')) as [number | null]
    running--
    return exit
  })
  let looks = 0
  while (running > 0) {
    if ((await readdir(inside)).includes('shared.db')) {
      const database = new Database(path)
      database.pragma('busy_timeout = 30000')
      const { n } = database.prepare('SELECT count(*) AS n FROM measurements').get() as { n: number }
      expect(n).toBeLessThanOrEqual(60)
      database.close()
      looks++
    }
    await setTimeout(1)
  }
  expect(await Promise.all(ends)).toEqual([0, 0, 0])
  expect(looks).toBeGreaterThan(0)
  const store = await Store.open(path)
  expect(store.count()).toEqual({ measurements: 60, repeated: 0 })
  store.close()
  expect(await readdir(inside)).toEqual(['shared.db'])
})

test('an empty file becomes a store; the hash of a file is not taken from one that was there with its size and time', async () => {
  const path = join(folder, 'empty.db')
  await writeFile(path, '')
  const store = await Store.open(path)
  const model = join(folder, 'same.gguf')
  await writeTinyGguf(model)
  await utimes(model, 1, 1)
  const first = await store.hashOf(model)
  const bytes = await readFile(model)
  bytes[bytes.length - 1] ^= 1
  await writeFile(model, bytes) // the same inode
  await utimes(model, 1, 1)
  expect(await store.hashOf(model)).not.toBe(first)
  store.close()
})
