/** Downloads by processes that are killed, or that want the same file at once. */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { HubCache } from '../../src/hub/cache.js'
import { partialPath, pieceBytes } from '../../src/hub/pieces.js'
import { startHub } from '../support/hub.js'
import { commitOf } from '../support/hub-server.js'
import { kill, source, startScript } from '../support/process.js'
import { scratchFolder } from '../unit/gguf-bytes.js'

const folder = scratchFolder()
const hub = await startHub()
const id = 'org/tiny'
const commit = commitOf(id)
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Downloads as a process of its own and prints `done`. */
const script = (cache: HubCache, connections: number): string => `
  const { HubClient } = await import(${source('hub/client.js')})
  const { HubCache } = await import(${source('hub/cache.js')})
  const { openRepository } = await import(${source('hub/listing.js')})
  const { download } = await import(${source('hub/download.js')})
  const hub = new HubClient({ endpoint: ${JSON.stringify(hub.endpoint)}, offline: false, cache: '' }, {})
  const cache = new HubCache(${JSON.stringify(cache.root)})
  const repository = await openRepository(hub, cache, ${JSON.stringify(id)}, 'main')
  const file = repository.files.find(({ path }) => path === 'model.gguf')
  console.log('begun')
  await download(hub, cache, repository, file, { connections: ${connections} })
  console.log('done')`

test('a download that is killed twenty times ends with its checksum and fetches no finished piece twice', async () => {
  const cache = new HubCache(join(folder, 'killed'))
  const large = new Uint8Array(randomBytes(32 * 2 ** 20 + 99))
  hub.repositories.set(id, { files: { 'model.gguf': large } })
  const blob = cache.blob(id, sha256(large))
  const piece = pieceBytes(large.length)
  const finished = (): Set<number> => {
    if (!existsSync(`${partialPath(blob)}-pieces`)) return new Set()
    return new Set(
      [...readFileSync(`${partialPath(blob)}-pieces`).entries()].flatMap(([i, byte]) =>
        byte === 1 ? [i] : [],
      ),
    )
  }
  let before = new Set<number>()
  const again: number[] = []
  hub.fault = ({ range, url }) => {
    const [, start] = /bytes=(\d+)-/.exec(range ?? '') ?? []
    const asked = Math.floor(Number(start) / piece)
    if (url.startsWith('/store') && before.has(asked)) again.push(asked)
    return false
  }
  const sent = (): number => hub.sent.get('model.gguf') ?? 0
  hub.slow = 5
  let kills = 0
  for (; kills < 20 && !existsSync(blob); kills++) {
    const child = await startScript(script(cache, 1), 'begun')
    const wanted = sent() + Math.random() * 2.5 * piece
    while (sent() < wanted && child.exitCode === null) await setTimeout(2)
    await kill(child)
    before = finished()
  }
  expect(kills).toBe(20)
  expect(before.size).toBeGreaterThan(0)
  hub.slow = 0
  await startScript(script(cache, 4), 'done')
  expect(sha256(readFileSync(blob))).toBe(sha256(large))
  expect(readdirSync(join(blob, '..'))).toEqual([sha256(large)])
  expect(again).toEqual([])
}, 1_200_000)

test('two at once fetch a file once', async () => {
  hub.fault = undefined
  hub.sent.clear()
  const cache = new HubCache(join(folder, 'two'))
  const model = new Uint8Array(randomBytes(4 * 2 ** 20 + 1))
  hub.repositories.set(id, { files: { 'model.gguf': model } })
  hub.slow = 5
  await Promise.all([1, 4].map((connections) => startScript(script(cache, connections), 'done')))
  expect(hub.sent.get('model.gguf')).toBe(model.length)
  expect(readFileSync(cache.path(id, commit, 'model.gguf')).equals(model)).toBe(true)
})
