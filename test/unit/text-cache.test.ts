/** Parts of written text on disk: whole ones come back, anything else counts as absent. */
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cachedBytes, TextCache } from '../../src/data/text-cache.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-text-cache-'))
  process.env.QUENCH_CACHE = folder
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const sequences = [Int32Array.of(1, 2, 3), Int32Array.of(4, 5, 262_143)]

test('what was written is read back, for the same settings and part only', async () => {
  const cache = await TextCache.open({ seed: 1 }, 3)
  expect(await cache.read(0, 2)).toBeUndefined()
  await cache.write(0, sequences)
  expect(await cache.read(0, 2)).toEqual(sequences)
  expect(await cache.read(0, 1)).toBeUndefined()
  expect(await cache.read(2, 2)).toBeUndefined()
  expect(await (await TextCache.open({ seed: 1 }, 3)).read(0, 2)).toEqual(sequences)
  expect(await (await TextCache.open({ seed: 2 }, 3)).read(0, 2)).toBeUndefined()
  expect((await readFile(join(cache.folder, '0-1.tokens'))).length).toBe(cachedBytes(6, 1))
})

test('damaged, cut and foreign files count as absent', async () => {
  const cache = await TextCache.open({ seed: 3 }, 3)
  await cache.write(0, sequences)
  const [name] = await readdir(cache.folder)
  const path = join(cache.folder, name)
  const good = await readFile(path)
  const changed = Buffer.from(good)
  changed[40] ^= 1
  for (const bytes of [changed, Buffer.alloc(good.length), Buffer.concat([good, good]), Buffer.alloc(0)]) {
    await writeFile(path, bytes)
    expect(await cache.read(0, 2)).toBeUndefined()
  }
  await writeFile(path, good)
  await truncate(path, good.length - 1)
  expect(await cache.read(0, 2)).toBeUndefined()
  const other = await TextCache.open({ seed: 4 }, 3)
  await writeFile(join(other.folder, name), good)
  expect(await other.read(0, 2)).toBeUndefined()
})
