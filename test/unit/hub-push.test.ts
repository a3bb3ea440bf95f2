/** Uploads to a server with the faults that people meet: each ends with the right files, or in one sentence. */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { QuenchError } from '../../src/errors.js'
import { openGguf } from '../../src/gguf/index.js'
import { HubClient } from '../../src/hub/client.js'
import { uploadSources } from '../../src/hub/upload/plan.js'
import { type PushResult, push } from '../../src/hub/upload/push.js'
import { Random } from '../../src/random.js'
import { startHub } from '../support/hub.js'
import type { Fault } from '../support/hub-server.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { scratchFolder } from './gguf-bytes.js'

// However busy the machine is.
vi.setConfig({ testTimeout: 100_000 })

const scratch = scratchFolder()
const hub = await startHub()
const id = 'me/model'
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
let folder: string
let count = 0
let notes: string[]

beforeEach(() => {
  folder = join(scratch, String(count++))
  mkdirSync(folder)
  vi.stubEnv('QUENCH_CACHE', join(folder, 'cache'))
  hub.repositories.clear()
  hub.asked.length = 0
  hub.fault = undefined
  Object.assign(hub.uploads, { partBytes: 1000, slow: 0, commits: 0 })
  hub.uploads.objects.clear()
  hub.uploads.received.clear()
  hub.uploads.expire()
  notes = []
})
afterEach(() => vi.unstubAllEnvs())

function file(name: string, length: number): string {
  const path = join(folder, name)
  writeFileSync(path, randomBytes(length))
  return path
}

interface Pushed {
  readonly signal?: AbortSignal
  readonly token?: string
  readonly hidden?: boolean
  readonly endpoint?: string
  readonly splitBytes?: number
  readonly card?: string
  readonly silence?: number
}

async function pushed(paths: readonly string[], asked: Pushed = {}): Promise<PushResult> {
  const {
    signal,
    token = 'secret',
    endpoint = hub.endpoint,
    hidden = false,
    silence = 20_000,
    ...plan
  } = asked
  const settings = { endpoint, offline: false, cache: folder, ...(token !== '' && { token }) }
  const client = new HubClient(settings, {
    ...{ pauses: [0.01, 0.01, 0.01], silence, onNote: (note: string) => notes.push(note) },
    ...(signal && { signal }),
  })
  try {
    const sources = await uploadSources(paths, plan)
    return await push(client, { repository: id, sources, private: hidden, summary: 'Add', connections: 2 })
  } finally {
    await client.close()
  }
}

const stored = (name: string): Buffer | undefined => {
  const bytes = hub.repositories.get(id)?.files[name]
  return bytes && Buffer.from(bytes)
}
const isThere = (path: string): boolean =>
  stored(path.replace(/.*\//s, ''))?.equals(readFileSync(path)) ?? false
const puts = (): number => hub.asked.filter(({ method }) => method === 'PUT').length

test('a repository is made, large files are sent in parts, small ones in the commit, and nothing twice', async () => {
  const paths = [
    file('large.gguf', 5432),
    file('small.gguf', 500),
    file('notes.txt', 100),
    file('empty.txt', 0),
  ]
  const first = await pushed(paths, { hidden: true })
  expect(first).toMatchObject({ sent: ['large.gguf', 'small.gguf', 'notes.txt', 'empty.txt'], present: [] })
  expect(first.url).toBe(`${hub.endpoint}/${id}`)
  expect(paths.map(isThere)).toEqual([true, true, true, true])
  expect(hub.repositories.get(id)?.private).toBe(true)
  expect(hub.uploads.commits).toBe(1)
  expect(puts()).toBe(7)
  // The token goes to the endpoint, and to no address of the store.
  for (const { host, method, authorization } of hub.asked) {
    expect(host === new URL(hub.endpoint).host).toBe(method !== 'PUT')
    expect(authorization).toBe(method === 'PUT' ? undefined : 'Bearer secret')
  }
  expect(readdirSync(join(folder, 'cache', 'uploads'))).toEqual([])

  expect(await pushed(paths)).toMatchObject({
    sent: [],
    present: paths.map((path) => path.replace(/.*\//s, '')),
  })
  expect({ puts: puts(), commits: hub.uploads.commits }).toEqual({ puts: 7, commits: 1 })
  const copy = join(folder, 'copy.gguf')
  writeFileSync(copy, readFileSync(paths[0]))
  expect(await pushed([copy], { hidden: true })).toMatchObject({ sent: [], present: ['copy.gguf'] })
  expect({ puts: puts(), there: isThere(copy) }).toEqual({ puts: 7, there: true })
  expect(notes).toEqual([`hf:${id} exists already; who can see it stays as it is`])
})

test('stopped ten times at random, it sends no finished part twice', async () => {
  const path = file('large.gguf', 20_500)
  const random = new Random(3)
  hub.uploads.slow = 5
  let stops = 0
  for (; stops < 10; stops++) {
    const stop = new AbortController()
    const run = pushed([path], { signal: stop.signal }).then(
      () => true,
      () => false,
    )
    const before = hub.uploads.received.size
    const more = 1 + Math.floor(random.uniform() * 2)
    while (hub.uploads.received.size < before + more && hub.uploads.commits === 0) await setTimeout(1)
    stop.abort(new Error('stopped'))
    if (await run) break
  }
  expect(stops).toBeGreaterThan(3)
  hub.uploads.slow = 0
  await pushed([path])
  expect(isThere(path)).toBe(true)
  // A part that was under way when its connection was cut may have come all the same.
  const again = [...hub.uploads.received.values()].filter((times) => times > 1).length
  expect(again).toBeLessThanOrEqual(2 * stops)
  expect(hub.uploads.received.size).toBe(21)
})

test('finished parts are kept, and addresses that are over are asked for anew', async () => {
  const path = file('large.gguf', 5500)
  const refuse = (status: number): void => {
    hub.fault = ({ url, method }, response) => {
      if (method !== 'PUT' || !/part=6/.test(url)) return false
      response.writeHead(status).end()
      return true
    }
  }
  refuse(503)
  await expect(pushed([path])).rejects.toThrow(/HTTP status 503, 4 times in a row/)
  const parts = () =>
    [...hub.uploads.received].map(([key, times]) => `${key.replace(/.*\//, '')}:${times}`).sort()
  expect(parts().filter((part) => part.endsWith(':1')).length).toBeGreaterThanOrEqual(4)
  const before = parts().length
  hub.fault = undefined
  await pushed([path])
  expect(parts()).toEqual(['1:1', '2:1', '3:1', '4:1', '5:1', '6:1'])
  expect(before).toBeLessThan(6)
  expect(isThere(path)).toBe(true)

  const other = file('other.gguf', 3500)
  refuse(503)
  hub.fault = ({ url, method }, response) => {
    if (method !== 'PUT' || !/part=3/.test(url)) return false
    response.writeHead(503).end()
    return true
  }
  await expect(pushed([other])).rejects.toThrow(/503/)
  hub.fault = undefined
  hub.uploads.expire()
  await pushed([other])
  expect(isThere(other)).toBe(true)
})

describe('faults', () => {
  const at = (path: RegExp, answer: Fault, times = Number.POSITIVE_INFINITY): void => {
    let left = times
    hub.fault = (asked, response, request) => {
      if (!path.test(asked.url) || left-- <= 0) return false
      return answer(asked, response, request)
    }
  }
  const status =
    (code: number, headers: Record<string, string> = {}): Fault =>
    (_, response, request) => {
      request.resume()
      response.writeHead(code, headers).end('{"error":"no"}')
      return true
    }
  const everywhere = ['create', 'preupload', 'batch', '/put/', 'complete', 'commit'].map(
    (name) => [name, new RegExp(name)] as const,
  )

  test.each(everywhere)('%s: cut connections, 5xx and 429 are tried again', async (_, path) => {
    const paths = [file('large.gguf', 2500), file('a.txt', 9)]
    at(path, (_, response) => !!response.destroy(), 2)
    await pushed(paths)
    hub.repositories.clear()
    hub.uploads.objects.clear()
    at(path, status(503), 2)
    await pushed(paths)
    hub.repositories.clear()
    hub.uploads.objects.clear()
    at(path, status(429, { 'retry-after': '0' }), 2)
    await pushed(paths)
    expect(paths.map(isThere)).toEqual([true, true])
  })

  test('a token that may write to a repository need not have the right to make one', async () => {
    const path = file('a.gguf', 2500)
    hub.repositories.set(id, { files: {} })
    for (const code of [401, 402, 403]) {
      at(/create/, status(code))
      await pushed([path])
      expect(isThere(path)).toBe(true)
      hub.repositories.set(id, { files: {} })
    }
    hub.repositories.clear()
    at(/create/, status(402))
    await expect(pushed([path])).rejects.toThrow(/make it on its pages first/)
  })

  test('another repository that the Hub is making is waited for', async () => {
    const path = file('a.gguf', 2500)
    const busy: Fault = (_, response) =>
      !!response
        .writeHead(409)
        .end('{"error":"Cannot create repo: another conflicting operation is in progress"}')
    at(/create/, busy, 2)
    await pushed([path])
    expect(isThere(path)).toBe(true)
  })

  test('a file that the repository ignores is not left out without a word', async () => {
    at(
      /preupload/,
      (_, response) =>
        !!response.end(
          JSON.stringify({ files: [{ path: 'a.gguf', uploadMode: 'lfs', shouldIgnore: true }] }),
        ),
    )
    await expect(pushed([file('a.gguf', 10)])).rejects.toThrow(/a\.gguf: the \.gitignore of .* leaves out/)
    expect(hub.uploads.commits).toBe(0)
  })

  test.each([
    ['create', 401, /refuses the token/],
    ['create', 403, /may not write there/],
    ['preupload', 404, /no such repository/],
    ['batch', 413, /larger than the Hub takes/],
    ['commit', 409, /changed the repository meanwhile/],
    ['commit', 412, /changed the repository meanwhile/],
    ['commit', 413, /larger than the Hub takes/],
    ['/put/', 403, /refuses the address that it named itself/],
    ['/put/', 413, /HTTP status 413/],
    ['complete', 404, /refuses the address that it named itself/],
    ['batch', 503, /HTTP status 503, 4 times in a row/],
    ['batch', 302, /page elsewhere/],
  ])('%s: %d', async (path, code, message) => {
    at(new RegExp(path), status(code, { location: '/login' }))
    const error = await pushed([file('large.gguf', 2500), file('a.txt', 9)]).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(QuenchError)
    expect((error as Error).message).toMatch(message)
    expect((error as Error).message).not.toMatch(/secret|upload=|\n/)
    expect(hub.uploads.commits).toBe(0)
  })

  test.each([
    ['a web page', 'preupload', '<html>login', /a web page came/],
    ['nothing', 'batch', '{}', /does not tell where the file goes/],
    [
      'an error of one object',
      'batch',
      (oid: string) => ({ objects: [{ oid, error: { message: 'too large' } }] }),
      /too large/,
    ],
    [
      'no parts',
      'batch',
      upload({ chunk_size: '1000', '1': 'https://x.invalid/' }),
      /names 1 places for 3 parts/,
    ],
    ['parts of no size', 'batch', upload({ chunk_size: '0' }), /parts of no size/],
    ['parts that are too many', 'batch', upload({ chunk_size: '0.0001' }), /parts of no size/],
    ['an address that is none', 'batch', upload({}, 'file:///etc/passwd'), /not safe/],
    ['no commit', 'commit', '{"success":true}', /names no commit/],
  ])('%s instead of an answer', async (_, path, answer, message) => {
    const large = file('large.gguf', 2500)
    const text = typeof answer === 'string' ? answer : JSON.stringify(answer(sha256(readFileSync(large))))
    at(new RegExp(path), (_, response) => !!response.end(text))
    await expect(pushed([large])).rejects.toThrow(message)
  })

  test('an upload that stands still ends', async () => {
    at(/\/put\//, (_, __, request) => !!request.pause())
    await expect(pushed([file('large.gguf', 2500)], { silence: 200 })).rejects.toThrow(
      /nothing (went through|came) for too long/,
    )
  })

  test('no token is sent to another host that an answer names or redirects to', async () => {
    const store = new URL(hub.endpoint)
    const seen: (string | undefined)[] = []
    at(/batch/, (asked, response, request) => {
      request.resume()
      if (asked.host !== store.host) {
        seen.push(asked.authorization)
        return !!response.writeHead(404).end()
      }
      response.writeHead(307, { location: `http://localhost:${store.port}/batch` })
      return !!response.end()
    })
    await expect(pushed([file('large.gguf', 2500)])).rejects.toThrow(QuenchError)
    expect(seen).toEqual([undefined])
  })
})

function upload(header: Record<string, string>, href = 'https://x.invalid/') {
  return (oid: string) => ({ objects: [{ oid, actions: { upload: { href, header } } }] })
}

test('neither a token nor a connection: nothing is asked', async () => {
  const path = file('a.gguf', 10)
  await expect(pushed([path], { token: '' })).rejects.toThrow(/needs a token/)
  expect(hub.asked).toEqual([])
  await expect(uploadSources([path, join(folder, 'none.gguf')], {})).rejects.toThrow(/no such file/)
  mkdirSync(join(folder, 'sub'))
  writeFileSync(join(folder, 'sub', 'a.gguf'), 'x')
  await expect(uploadSources([path, join(folder, 'sub', 'a.gguf')], {})).rejects.toThrow(/two of the files/)
  await expect(uploadSources([file('b.bin', 100)], { splitBytes: 50 })).rejects.toThrow(
    /only GGUF files can be split/,
  )
})

test('the Hub is asked of few files at a time, and an empty one goes with the commit', async () => {
  const paths = Array.from({ length: 300 }, (_, i) => file(`${i}.txt`, 3))
  paths.push(file('empty.gguf', 0))
  await pushed(paths)
  expect(paths.every(isThere)).toBe(true)
  expect(hub.asked.filter(({ url }) => url.includes('preupload'))).toHaveLength(2)
  expect(puts()).toBe(0)
})

test('a model card lies beside the files, or is named', async () => {
  const path = file('a.gguf', 10)
  const names = async (card?: string) =>
    (await uploadSources([path], card === undefined ? {} : { card })).map((each) => each.path)
  writeFileSync(join(folder, 'README.md'), '# Something private\n')
  expect(await names()).toEqual(['a.gguf'])
  expect(await names(join(folder, 'README.md'))).toEqual(['a.gguf', 'README.md'])
  writeFileSync(join(folder, 'README.md'), '# Mine\n\n| quantization | size | bits/weight | PPL |\n')
  expect(await names()).toEqual(['a.gguf', 'README.md'])
})

test('a model that is too large is sent in parts that are a split model', async () => {
  const path = join(folder, 'model-F32.gguf')
  await writeTinyGguf(path)
  hub.uploads.partBytes = 1e6
  await pushed([path], { splitBytes: 150_000 })
  const names = Object.keys(hub.repositories.get(id)?.files ?? {})
  expect(names.length).toBeGreaterThan(2)
  expect(names[0]).toBe(`model-F32-00001-of-${String(names.length).padStart(5, '0')}.gguf`)
  const there = join(folder, 'there')
  mkdirSync(there)
  for (const name of names) {
    expect((stored(name) as Buffer).length, name).toBeLessThanOrEqual(150_000)
    writeFileSync(join(there, name), stored(name) as Buffer)
  }
  const [split, whole] = await Promise.all([openGguf(join(there, names[0])), openGguf(path)])
  expect([...split.metadata]).toEqual([...whole.metadata])
  expect(split.tensors.map(({ name }) => name)).toEqual(whole.tensors.map(({ name }) => name))
  for (const tensor of whole.tensors) {
    const [sent, own] = [await split.read(split.tensor(tensor.name)), await whole.read(tensor)]
    expect(Buffer.from(sent).equals(own), tensor.name).toBe(true)
  }
  await Promise.all([split.close(), whole.close()])
  expect(existsSync(join(folder, 'model-F32-00001-of-00002.gguf'))).toBe(false)
})
