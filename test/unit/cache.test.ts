/** The cache folder: where it is, whom it is for, what is in it, and how it is cleared. */
import { execFileSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { clearCache, listCache } from '../../src/cache.js'
import { cacheFolder, ownCacheFolder } from '../../src/cache-folder.js'
import { TextCache } from '../../src/data/text-cache.js'
import { lockFile, lockPath } from '../../src/locks.js'
import { kill, source, startScript } from '../support/process.js'
import { scratchFolder } from './gguf-bytes.js'

const scratch = scratchFolder()
const { QUENCH_CACHE, XDG_CACHE_HOME } = process.env
let cache: string
let number = 0
beforeEach(() => {
  cache = join(scratch, String(number++))
  process.env.QUENCH_CACHE = cache
})
afterAll(() => Object.assign(process.env, { QUENCH_CACHE, XDG_CACHE_HOME }))

const sequences = [Int32Array.of(1, 2, 3), Int32Array.of(4, 5, 6)]
const writtenText = async (seed: number): Promise<TextCache> => {
  const text = await TextCache.open({ seed }, 3)
  await text.write(0, sequences)
  return text
}

test.each([
  [{ QUENCH_CACHE: 'own', XDG_CACHE_HOME: '/xdg' }, 'own'],
  [{ QUENCH_CACHE: '', XDG_CACHE_HOME: '/xdg' }, '/xdg/quench'],
  [{ XDG_CACHE_HOME: '/xdg' }, '/xdg/quench'],
  [{ XDG_CACHE_HOME: '' }, join(homedir(), '.cache', 'quench')],
  [{ QUENCH_CACHE: '', XDG_CACHE_HOME: 'relative' }, join(homedir(), '.cache', 'quench')],
  [{}, join(homedir(), '.cache', 'quench')],
])('with %j the cache folder is %s', (variables, folder) => {
  delete process.env.QUENCH_CACHE
  delete process.env.XDG_CACHE_HOME
  Object.assign(process.env, variables)
  expect(cacheFolder()).toBe(folder)
})

describe('another user', () => {
  test.skipIf(process.platform === 'win32')('cannot look into the folder that is made', () => {
    const folder = ownCacheFolder('text', 'deep')
    for (const path of [cache, join(cache, 'text'), folder]) expect(statSync(path).mode & 0o077).toBe(0)
  })

  /** Does something while a file or folder is another user's. */
  const foreign = async (path: string, work: () => unknown): Promise<void> => {
    const { getuid } = process
    if (getuid?.() === 0) chownSync(path, 12345, 12345)
    else process.getuid = () => (getuid?.() ?? 0) + 1
    try {
      await work()
    } finally {
      process.getuid = getuid as () => number
      if (getuid?.() === 0) chownSync(path, 0, 0)
    }
  }

  test.skipIf(process.platform === 'win32')('counts for nothing with what he put there', async () => {
    const text = await writtenText(1)
    await foreign(join(text.folder, '0-1.tokens'), async () => expect(await text.read(0, 2)).toBeUndefined())
    expect(await text.read(0, 2)).toEqual(sequences)
    const refused = /: it belongs to another user; set QUENCH_CACHE to a folder of your own/
    await foreign(text.folder, () => expect(writtenText(1)).rejects.toThrow(refused))
    await foreign(cache, () => expect(() => listCache()).toThrow(refused))
    ownCacheFolder()
  })

  test('cannot lead elsewhere by a link', async () => {
    const text = await writtenText(2)
    const part = join(text.folder, '0-1.tokens')
    renameSync(part, join(scratch, 'part'))
    for (const plant of [symlinkSync, linkSync]) {
      plant(join(scratch, 'part'), part)
      expect(await text.read(0, 2)).toBeUndefined()
      await text.write(0, sequences)
      expect(await text.read(0, 2)).toEqual(sequences)
      execFileSync('rm', [part])
    }
    execFileSync('rm', ['-r', join(cache, 'text')])
    mkdirSync(join(scratch, 'elsewhere'))
    symlinkSync(join(scratch, 'elsewhere'), join(cache, 'text'))
    await expect(writtenText(2)).rejects.toThrow(`${join(cache, 'text')}: it is a symbolic link`)
    expect(() => listCache()).toThrow('it is a symbolic link')
  })
})

test('two that write the same text: the second waits, then reads what the first wrote', async () => {
  const text = await TextCache.open({ seed: 3 }, 3)
  const first = await startScript(
    `const { TextCache } = await import(${source('data/text-cache.js')})
    const text = await TextCache.open({ seed: 3 }, 3)
    const lock = await text.lock()
    await text.reserve(0, 2)
    console.log('locked')
    process.on('SIGTERM', async () => {
      await text.write(0, [Int32Array.of(1, 2, 3), Int32Array.of(4, 5, 6)])
      lock.release()
      process.exit()
    })
    setInterval(() => {}, 1000)`,
    'locked',
  )
  const warnings: Error[] = []
  const heard = (warning: Error) => warnings.push(warning)
  process.on('warning', heard)
  const waiting = text.lock()
  await expect.poll(() => warnings.length).toBe(1)
  expect(warnings[0].message).toContain(
    `waits for another quench (process ${first.pid}), which is writing the same text`,
  )
  expect(await text.read(0, 2)).toBeUndefined()
  first.kill('SIGTERM')
  const lock = await waiting
  process.off('warning', heard)
  expect(await text.read(0, 2)).toEqual(sequences)
  lock.release()
  expect(readdirSync(text.folder)).toEqual(['0-1.tokens'])
})

describe('quench cache', () => {
  const fill = async (): Promise<TextCache> => {
    const text = await writtenText(4)
    await writtenText(5)
    await text.reserve(2, 2)
    writeFileSync(join(text.folder, '.writer.gguf.1.0123abcd.tmp'), 'half')
    writeFileSync(join(cache, 'measurements.db'), 'measured')
    writeFileSync(join(cache, 'measurements.db-wal'), 'log')
    return text
  }

  test('lists by kind, and clears what is quench own', async () => {
    const text = await fill()
    const time = new Date('2030-01-02T03:04:05.000Z')
    utimesSync(join(cache, 'measurements.db'), time, time)
    const { folder, bytes, entries } = listCache()
    expect({ folder, bytes }).toEqual({ folder: cache, bytes: 56 + 56 + 56 + 4 + 8 + 3 })
    expect(entries.map(({ kind, files, bytes: size }) => [kind, files, size])).toEqual([
      ['text', 3, 116],
      ['text', 1, 56],
      ['measurements', 2, 11],
    ])
    expect(entries[0].path).toBe(text.folder)
    expect(entries[2].lastUse).toBe(time.toISOString())
    expect((await clearCache()).bytes).toBe(bytes)
    expect(readdirSync(cache)).toEqual([])
    expect(listCache()).toEqual({ folder: cache, bytes: 0, entries: [] })
    expect((await clearCache()).bytes).toBe(0)
  })

  test('removes nothing that others put there, and follows no links', async () => {
    const text = await fill()
    const victim = join(scratch, 'letters')
    mkdirSync(victim)
    writeFileSync(join(victim, '0-1.tokens'), 'a letter')
    const others = [
      join(cache, 'notes.txt'),
      join(text.folder, 'notes.txt'),
      join(cache, 'text', 'a'.repeat(32)),
      join(text.folder, '7-8.tokens'),
    ]
    writeFileSync(others[0], 'mine')
    writeFileSync(others[1], 'mine')
    symlinkSync(victim, others[2])
    symlinkSync(join(victim, '0-1.tokens'), others[3])
    const listed = listCache().entries.filter(({ kind }) => kind === 'other')
    expect(listed.map(({ path }) => path).sort()).toEqual([...others].sort())
    const cleared = await clearCache()
    expect(cleared.entries.map(({ kind }) => kind)).toEqual(['text', 'text', 'measurements'])
    expect(readFileSync(join(victim, '0-1.tokens'), 'utf8')).toBe('a letter')
    expect(others.slice(0, 2).map((path) => existsSync(path))).toEqual([true, true])
    expect(readdirSync(text.folder).sort()).toEqual(['7-8.tokens', 'notes.txt'])
  })

  test('is not cleared while it is used, and a lock of a killed process does not matter', async () => {
    const text = await fill()
    const before = listCache()
    const lock = await lockFile(join(cache, 'measurements.db'), 'using this store')
    await expect(clearCache()).rejects.toThrow(
      `${join(cache, 'measurements.db')}: another quench (process ${process.pid}) is using this; wait until it is done`,
    )
    lock.release()
    expect(listCache()).toEqual(before)
    const killed = await startScript(
      `const { lockFile } = await import(${source('locks.js')})
      await lockFile(${JSON.stringify(text.folder)}, '')
      await lockFile(${JSON.stringify(join(cache, 'text', 'b'.repeat(32)))}, '')
      console.log('locked')
      setInterval(() => {}, 1000)`,
      'locked',
    )
    await expect(clearCache()).rejects.toThrow(`(process ${killed.pid}) is using this`)
    await kill(killed)
    expect(readdirSync(join(cache, 'text'))).toContain(basename(lockPath(text.folder)))
    await clearCache()
    expect(readdirSync(cache)).toEqual([])
  })
})
