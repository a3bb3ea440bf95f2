import { mkdtemp, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
  let store = Store.open(path)
  let runs = 0
  const measure = async () => ({ value: ++runs, more: [1, 2] })
  const inputs = { file: 'abc', settings: { b: 2, a: 1 } }
  expect(await store.once('kind', inputs, measure)).toEqual({ value: 1, more: [1, 2] })
  store.close()
  store = Store.open(path)
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
  const store = Store.open(join(folder, 'fails.db'))
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
  const store = Store.open(join(folder, 'hashes.db'))
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
  expect(() => Store.open(damaged)).toThrow(
    /damaged\.db: this store of measurements is damaged or no store; delete it/,
  )
  const cut = join(folder, 'cut.db')
  const store = Store.open(cut)
  for (let i = 0; i < 50; i++) store.put('kind', { i }, 'x'.repeat(2000))
  store.close()
  await truncate(cut, 9000)
  expect(() => {
    const opened = Store.open(cut)
    opened.get('kind', { i: 49 })
  }).toThrow(/cut\.db: this store of measurements is damaged/)
  const foreign = join(folder, 'foreign.db')
  const database = new Database(foreign)
  database.exec('CREATE TABLE bookmarks(url TEXT)')
  database.close()
  expect(() => Store.open(foreign)).toThrow(/foreign\.db: this is a database of another program/)
  expect(() => Store.open(folder)).toThrow(FileError)
  expect(() => Store.open(folder)).toThrow(/this is a folder/)
})
