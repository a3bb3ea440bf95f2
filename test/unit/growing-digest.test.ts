/** Hashes of tensors of a file that is still being written. */
import { createHash } from 'node:crypto'
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { openGguf } from '../../src/gguf/index.js'
import { followDigest, isOf, placesOf } from '../../src/provenance/growing-digest.js'
import { dataDigest } from '../../src/provenance/seal.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { scratchFolder } from './gguf-bytes.js'

const folder = scratchFolder()

/** Three tensors behind a header of 64 bytes, padded to 32. */
const sizes = [100, 3_000_001, 32]
const fileBytes = 64 + 128 + 3_000_032 + 32
const places = placesOf(sizes, fileBytes, 32)
const bytes = Buffer.from(Array.from({ length: fileBytes }, (_, i) => (i * 31) % 251))
const expected = createHash('sha256')
for (const { offset, bytes: length } of places) expected.update(bytes.subarray(offset, offset + length))
const sha256 = expected.digest('hex')

test('tensors lie one after the other, padded, up to the end of the file', () => {
  expect(places).toEqual([
    { offset: 64, bytes: 100 },
    { offset: 192, bytes: 3_000_001 },
    { offset: 3_000_224, bytes: 32 },
  ])
})

test('a file is hashed while it grows', async () => {
  const path = join(folder, 'grows')
  writeFileSync(path, '')
  const write = async (): Promise<void> => {
    for (let at = 0; at < fileBytes; at += 700_000) {
      appendFileSync(path, bytes.subarray(at, at + 700_000))
      await setTimeout(5)
    }
  }
  expect(await followDigest(path, places, write())).toEqual({ sha256, bytes: 3_000_133, places })
})

test('a file that ends early, or a writer that fails, gives none', async () => {
  const path = join(folder, 'short')
  writeFileSync(path, bytes.subarray(0, 3_000_230))
  expect(await followDigest(path, places, Promise.resolve())).toBeUndefined()
  expect(await followDigest(path, places, Promise.reject(new Error('no')))).toBeUndefined()
  expect(await followDigest(join(folder, 'missing'), places, Promise.resolve())).toBeUndefined()
})

test('the hash of a file is only that of the places where its tensors lie', async () => {
  const path = join(folder, 'tiny.gguf')
  await writeTinyGguf(path)
  const gguf = await openGguf(path)
  try {
    const own = gguf.tensors.map(({ offset, bytes }) => ({ offset, bytes }))
    const followed = await followDigest(path, own, Promise.resolve())
    if (!followed) throw new Error('not hashed')
    expect(followed.sha256).toBe((await dataDigest(gguf)).sha256)
    expect(isOf(gguf, followed)).toBe(true)
    const moved = own.map((place, i) => (i === 1 ? { ...place, offset: place.offset + 32 } : place))
    expect(isOf(gguf, { ...followed, places: moved })).toBe(false)
    expect(isOf(gguf, { ...followed, places: own.slice(1) })).toBe(false)
  } finally {
    await gguf.close()
  }
})
