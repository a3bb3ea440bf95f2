/** Conversions that are kept: found again, and removed where they would take too much. */
import { existsSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { listCache } from '../../src/cache.js'
import { cachedConversion } from '../../src/convert/index.js'
import { lockFile } from '../../src/locks.js'
import { writeCheckpoint } from '../support/checkpoints.js'
import { byteLevelBpe } from '../support/tokenizer-files.js'
import { scratchFolder } from './gguf-bytes.js'

const scratch = scratchFolder()
const text = readFileSync(new URL('../../models/quench-5m.test.txt', import.meta.url), 'utf8').slice(0, 5000)
const folder = join(scratch, 'checkpoint')
writeCheckpoint(folder, { family: 'llama', tokenizer: byteLevelBpe(text, 'llama-bpe', 280) })

let made = 0
beforeEach(() => vi.stubEnv('QUENCH_CACHE', join(scratch, `cache-${made++}`)))
afterEach(() => vi.unstubAllEnvs())

const convert = (title: string, onNote?: (sentence: string) => void): Promise<string> =>
  cachedConversion({ folder, title, ...(onNote && { onNote }) })

/** As if it had not been used for some days. */
function age(path: string, days: number): void {
  const time = new Date(Date.now() - days * 86400e3)
  for (const each of [path, dirname(path)]) utimesSync(each, time, time)
}

test('a conversion is found again, and by no other checkpoint', async () => {
  const notes: string[] = []
  const first = await convert('model', (note) => notes.push(note))
  expect(notes).toEqual([`converting the checkpoint ${folder} to BF16; the file is kept in the cache`])
  age(first, 3)
  expect(await convert('model', (note) => notes.push(note))).toBe(first)
  expect(notes).toHaveLength(1)
  expect(Date.now() - statSync(first).mtimeMs).toBeLessThan(3600e3)
  const config = join(folder, 'config.json')
  utimesSync(config, new Date(), new Date(Date.now() - 5000))
  expect(await convert('model')).not.toBe(first)
})

test('those that were not used for a day make room, the oldest first', async () => {
  const [oldest, old, fresh] = [await convert('oldest'), await convert('old'), await convert('fresh')]
  age(oldest, 3)
  age(old, 2)
  const bytes = statSync(old).size
  vi.stubEnv('QUENCH_CACHE_LIMIT', (100 * bytes * 1e-9).toFixed(12))
  const more = await convert('more')
  expect([oldest, old, fresh, more].filter(existsSync)).toHaveLength(4)
  expect(
    listCache()
      .entries.map(({ lastUse }) => Date.now() - Date.parse(lastUse) > 86400e3)
      .sort(),
  ).toEqual([false, false, true, true])
  // Three of them fit, and the checkpoint itself is a little smaller than its conversion.
  vi.stubEnv('QUENCH_CACHE_LIMIT', `${(4.2 * bytes * 1e-9).toFixed(12)} GB`)
  await convert('another')
  expect([oldest, old, fresh, more].map((path) => existsSync(path))).toEqual([false, true, true, true])
  expect(existsSync(dirname(oldest))).toBe(false)
})

test('what is used stays, whatever the limit', async () => {
  vi.stubEnv('QUENCH_CACHE_LIMIT', '0')
  const [used, idle, fresh] = [await convert('used'), await convert('idle'), await convert('fresh')]
  age(used, 9)
  age(idle, 2)
  const lock = await lockFile(dirname(used), 'reading it')
  const last = await convert('last')
  expect([used, idle, fresh, last].map((path) => existsSync(path))).toEqual([true, false, true, true])
  lock.release()
})

test('a limit that is none is told before anything is written', async () => {
  vi.stubEnv('QUENCH_CACHE_LIMIT', 'much')
  await expect(convert('model')).rejects.toThrow('QUENCH_CACHE_LIMIT is much; it must be a number of GB')
  expect(readdirSync(join(process.env.QUENCH_CACHE as string, 'converted'))).toEqual([])
})
