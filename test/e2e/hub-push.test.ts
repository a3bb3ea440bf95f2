/** Uploads by commands that are killed. */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startHub } from '../support/hub.js'
import { quenchUntil, quenchWith } from '../support/quench.js'
import { scratchFolder } from '../unit/gguf-bytes.js'

const folder = scratchFolder()
const hub = await startHub()
const cache = join(folder, 'cache')
const env = {
  HF_ENDPOINT: hub.endpoint,
  HF_TOKEN: 'secret',
  HF_HOME: join(folder, 'hf'),
  QUENCH_CACHE: cache,
}
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The parts that the cache knows to be there. */
function finished(): Set<number> {
  const uploads = join(cache, 'uploads')
  const journals = existsSync(uploads)
    ? readdirSync(uploads)
        .map((key) => join(uploads, key, 'parts.json'))
        .filter((path) => existsSync(path))
    : []
  return new Set(
    journals.flatMap((path) => Object.keys(JSON.parse(readFileSync(path, 'utf8')).etags).map(Number)),
  )
}

test('an upload that is killed twelve times ends with its checksum and sends no finished part twice', async () => {
  const path = join(folder, 'large.gguf')
  const parts = 64
  const bytes = randomBytes(parts * 1000 - 1)
  writeFileSync(path, bytes)
  const args = ['push', path, '--repo', 'me/model', '--yes', '--connections', '1']
  let before = new Set<number>()
  const again: number[] = []
  hub.fault = ({ url }) => {
    const [, part] = /[?&]part=(\d+)/.exec(url) ?? []
    if (before.has(Number(part))) again.push(Number(part))
    return false
  }
  hub.uploads.slow = 8
  const came = (): number => hub.uploads.received.size
  let kills = 0
  for (; kills < 12 && hub.uploads.commits === 0; kills++) {
    const wanted = came() + Math.floor(Math.random() * 4)
    const ran = await quenchUntil({ name: 'SIGKILL', when: () => came() > wanted, env }, ...args)
    expect(ran.signal).toBe('SIGKILL')
    before = finished()
  }
  expect(kills).toBe(12)
  expect(before.size).toBeGreaterThan(6)
  hub.uploads.slow = 0
  expect(await quenchWith(env, ...args)).toMatchObject({ code: 0 })
  expect(again).toEqual([])
  const stored = hub.repositories.get('me/model')?.files['large.gguf']
  expect(stored && sha256(stored)).toBe(sha256(bytes))
  expect(hub.uploads.commits).toBe(1)
  expect(readdirSync(join(cache, 'uploads'))).toEqual([])
}, 600_000)
