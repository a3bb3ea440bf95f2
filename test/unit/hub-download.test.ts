/** Downloads from a server with the faults that people meet: each gives the file, or one sentence, and the cache is that of other tools. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { QuenchError } from '../../src/errors.js'
import { HubCache } from '../../src/hub/cache.js'
import { HubClient } from '../../src/hub/client.js'
import { type DownloadOptions, download } from '../../src/hub/download.js'
import { openRepository } from '../../src/hub/listing.js'
import { partialPath } from '../../src/hub/pieces.js'
import { startHub } from '../support/hub.js'
import { commitOf, type Fault, type HubServer } from '../support/hub-server.js'
import { scratchFolder } from './gguf-bytes.js'

// However busy the machine is.
vi.setConfig({ testTimeout: 100_000 })

const folder = scratchFolder()
const hub: HubServer = await startHub()
const id = 'org/tiny'
const commit = commitOf(id)

const bytesOf = (length: number): Uint8Array => new Uint8Array(randomBytes(length))
const model = bytesOf(12345)
/** Three pieces, the last of which is short. Every piece is flushed to the disk, which takes long on a busy one. */
const large = bytesOf(2 * 2 ** 20 + 12345)
const config = Buffer.from('{"a": 1}\n')
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const etag = sha256(model)

let cache: HubCache
let notes: string[]
let made = 0
beforeEach(() => {
  hub.repositories.clear()
  hub.repositories.set(id, {
    files: { 'model.gguf': model, 'large.gguf': large, 'sub/config.json': config },
    small: ['sub/config.json'],
  })
  hub.asked.length = 0
  hub.sent.clear()
  cache = new HubCache(join(folder, `hub-${made++}`))
  notes = []
})
afterEach(() => {
  hub.fault = undefined
  hub.listing = undefined
  hub.slow = 0
  silence = 20_000
})

let silence = 20_000
const client = (
  more: { token?: string; offline?: boolean; signal?: AbortSignal; endpoint?: string } = {},
): HubClient => {
  const { signal, endpoint = hub.endpoint, offline = false, token } = more
  const settings = { endpoint, offline, cache: cache.root, ...(token !== undefined && { token }) }
  return new HubClient(settings, {
    pauses: [0.01, 0.01, 0.01],
    silence,
    onNote: (note) => notes.push(note),
    ...(signal && { signal }),
  })
}

async function fetched(
  path = 'model.gguf',
  own = client(),
  options: DownloadOptions = {},
  revision = 'main',
): Promise<string> {
  const repository = await openRepository(own, cache, id, revision)
  const file = repository.files.find((each) => each.path === path)
  if (!file) throw new Error(`${path} is not listed`)
  const name = await download(own, cache, repository, file, options)
  await cache.setRef(repository)
  return name
}

async function failure(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(QuenchError)
  const { message } = error as QuenchError
  expect(message).not.toMatch(/\n/)
  return message
}

const isFile = ({ url }: { url: string }): boolean => url.includes('/resolve/')
/** The first of the requests that a fault is meant for. */
function first(count: number, wanted: (asked: Parameters<Fault>[0]) => boolean, fault: Fault): Fault {
  let left = count
  return (asked, response, request) => (wanted(asked) && left-- > 0 ? fault(asked, response, request) : false)
}

test('a file lies where other tools look for it', async () => {
  const seen: number[] = []
  const name = await fetched('model.gguf', client(), { onProgress: (bytes) => seen.push(bytes) })
  const root = join(cache.root, 'models--org--tiny')
  expect(name).toBe(join(root, 'snapshots', commit, 'model.gguf'))
  expect(readlinkSync(name)).toBe(`../../blobs/${etag}`)
  expect(readFileSync(name).equals(model)).toBe(true)
  expect(readFileSync(join(root, 'refs/main'), 'utf8')).toBe(commit)
  expect(readdirSync(join(root, 'blobs'))).toEqual([etag])
  expect(seen).toEqual([...seen].sort((a, b) => a - b))
  expect(seen.at(-1)).toBe(model.length)
  expect(hub.sent.get('model.gguf')).toBe(model.length)

  const config = await fetched('sub/config.json')
  expect(readlinkSync(config)).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/)
  await fetched()
  expect(hub.sent.get('model.gguf')).toBe(model.length)
})

test('what is there is taken offline, and what is not is said', async () => {
  const offline = client({ offline: true })
  expect(await failure(fetched('model.gguf', offline))).toBe(
    'hf:org/tiny: it is not in the cache, and HF_HUB_OFFLINE forbids to ask the Hub',
  )
  const name = await fetched()
  hub.asked.length = 0
  expect(await fetched('model.gguf', offline)).toBe(name)
  expect(hub.asked).toEqual([])
  // A commit is what it is; a branch is asked for, and taken from the cache where nobody answers.
  expect(await fetched('model.gguf', client(), {}, commit)).toBe(name)
  expect(hub.asked).toEqual([])
  expect(await fetched('model.gguf', client({ endpoint: 'http://127.0.0.1:1' }))).toBe(name)
  expect(notes.at(-1)).toMatch(
    /^hf:org\/tiny: its host refuses the connection; .*; going on with what the cache has/,
  )
})

test('the token goes to the Hub and not to the store, and is asked for where it is missing', async () => {
  hub.repositories.set(id, { files: { 'model.gguf': model }, private: true })
  expect(await failure(fetched())).toMatch(
    /^hf:org\/tiny: there is no such repository, or it is private; .* set HF_TOKEN/,
  )
  const store = await startHub()
  store.repositories.set(id, { files: { 'model.gguf': model } })
  hub.fault = ({ url, authorization }, response) => {
    if (!url.startsWith('/org/tiny/resolve/') || authorization !== 'Bearer secret') return false
    response.writeHead(302, { location: `${store.endpoint}/store${url}` }).end()
    return true
  }
  await fetched('model.gguf', client({ token: 'secret' }))
  expect(hub.asked.filter(({ authorization }) => authorization === 'Bearer secret').length).toBeGreaterThan(1)
  expect(store.asked.length).toBeGreaterThan(0)
  expect(store.asked.filter(({ authorization }) => authorization !== undefined)).toEqual([])
  expect(await failure(fetched('model.gguf', client({ token: 'other' }), {}, 'v9'))).toMatch(
    /the Hub refuses the token/,
  )
})

describe('faults', () => {
  test('refusals are one sentence each', async () => {
    hub.repositories.set(id, { files: { 'model.gguf': model }, gated: true })
    expect(await failure(fetched())).toBe(
      `hf:org/tiny:model.gguf: its owners grant access on request; ask for it on ${hub.endpoint}/org/tiny, then set HF_TOKEN to a token of yours, or log in with \`hf auth login\``,
    )
    expect(await failure(fetched('model.gguf', client(), {}, 'v9'))).toBe(
      'hf:org/tiny@v9: the repository has no such revision; check what follows the @',
    )
    hub.repositories.delete(id)
    expect(await failure(fetched('model.gguf', client({ token: 'secret' })))).toMatch(
      /the Hub has nothing of that name/,
    )
  })

  test('connections that are cut go on where they were', async () => {
    hub.fault = first(6, isFile, (asked, response) => {
      const [, start, end] = /bytes=(\d+)-(\d+)/.exec(asked.range ?? '') ?? []
      if (start === undefined) return false
      const cut = Math.min(Number(end) + 1, Number(start) + 300_000)
      hub.sent.set('large.gguf', (hub.sent.get('large.gguf') ?? 0) + cut - Number(start))
      response.writeHead(206, {
        'content-length': Number(end) + 1 - Number(start),
        'content-range': `bytes ${start}-${end}/${large.length}`,
      })
      response.write(large.subarray(Number(start), cut), () => response.socket?.end())
      return true
    })
    expect(readFileSync(await fetched('large.gguf')).equals(large)).toBe(true)
    // A cut may lose what has come and nobody has read yet, and not the 300,000 bytes before.
    expect(hub.sent.get('large.gguf')).toBeLessThan(large.length + 6 * 2 ** 17)
  })

  test('silence counts as cut, and a slow server is waited for', async () => {
    silence = 500
    hub.fault = first(2, isFile, () => true)
    hub.slow = 5
    expect(readFileSync(await fetched('large.gguf')).equals(large)).toBe(true)
    hub.fault = isNever
    expect(await failure(fetched('sub/config.json'))).toBe(
      'hf:org/tiny:sub/config.json: nothing came for too long, 4 times in a row; try again later',
    )
  })
  const isNever: Fault = isFile

  test('429 and 5xx are waited for, as long as they ask', async () => {
    const status = (status: number, after: string) => (_: unknown, response: Parameters<Fault>[1]) => {
      response.writeHead(status, { 'retry-after': after }).end('busy')
      return true
    }
    hub.fault = first(3, () => true, status(429, '0'))
    await fetched('sub/config.json')
    rmSync(cache.root, { recursive: true })
    hub.fault = first(2, isFile, status(503, 'Thu, 01 Jan 1970 00:00:00 GMT'))
    await fetched('sub/config.json')
    rmSync(cache.root, { recursive: true })
    hub.fault = status(500, '')
    expect(await failure(fetched())).toBe(
      'hf:org/tiny: the Hub failed with HTTP status 500, 4 times in a row; try again later',
    )
    hub.fault = status(429, '3600')
    expect(await failure(fetched())).toBe(
      'hf:org/tiny: the Hub asks for fewer requests (HTTP status 429) and for a pause of 3600 s; try again after that',
    )
  })

  test('wrong lengths and wrong bytes leave nothing behind', async () => {
    const blobs = join(cache.root, 'models--org--tiny/blobs')
    hub.listing = (told) => ({
      ...told,
      siblings: [{ rfilename: 'model.gguf', lfs: { sha256: etag, size: model.length + 1 } }],
    })
    expect(await failure(fetched())).toMatch(/^hf:org\/tiny:model.gguf: the file is not what the Hub lists: /)
    hub.listing = undefined
    hub.repositories.set(id, { files: { 'model.gguf': model.with(5, model[5] ^ 1) } })
    hub.listing = (told) => ({
      ...told,
      siblings: [{ rfilename: 'model.gguf', lfs: { sha256: etag, size: model.length } }],
    })
    expect(await failure(fetched())).toMatch(
      /do not have the checksum that the Hub names, and were removed; try again$/,
    )
    expect(readdirSync(blobs)).toEqual([])
    expect(existsSync(join(cache.root, 'models--org--tiny/snapshots'))).toBe(false)
  })

  test('a web page is told from a file and from a listing', async () => {
    const page: Fault = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>Log in</title>')
      return true
    }
    hub.fault = page
    expect(await failure(fetched())).toMatch(
      /^hf:org\/tiny: a web page came instead of the Hub's answer; check HF_ENDPOINT/,
    )
    hub.fault = first(99, isFile, page)
    expect(await failure(fetched())).toMatch(
      /^hf:org\/tiny:model.gguf: a web page came instead of the file; /,
    )
  })

  test('headers and answers without an end are given up', async () => {
    hub.fault = (_, __, request) => {
      request.socket.write(`HTTP/1.1 200 OK\r\n${'x-filler: 0123456789abcdef\r\n'.repeat(4000)}`)
      return true
    }
    expect(await failure(fetched())).toBe(
      'hf:org/tiny: its answer has an endless header; check HF_ENDPOINT and the proxy',
    )
    hub.fault = (_, response) => {
      const filler = Buffer.alloc(2 ** 20, ' ')
      const more = (): void => {
        while (!response.destroyed && response.write(filler));
        if (!response.destroyed) response.once('drain', more)
      }
      response.writeHead(200, { 'content-type': 'application/json' })
      more()
      return true
    }
    expect(await failure(fetched())).toMatch(/the answer is longer than 32 MiB/)
    hub.fault = first(9, isFile, (_, response) => {
      response.writeHead(200, { 'transfer-encoding': 'chunked' })
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65536)));
        if (!response.destroyed) response.once('drain', more)
      }
      more()
      return true
    })
    expect(await failure(fetched('sub/config.json'))).toMatch(/checksum|more bytes came than/)
  })

  test('redirects are few, and never to plain HTTP from HTTPS', async () => {
    hub.fault = ({ url }, response) => {
      response.writeHead(302, { location: url }).end()
      return true
    }
    expect(await failure(fetched())).toBe('hf:org/tiny: its redirects lead to each other')
    hub.fault = (_, response) => {
      response.writeHead(302, { location: 'file:///etc/passwd' }).end()
      return true
    }
    expect(await failure(fetched())).toMatch(/redirects to an address that is not safe/)
  })

  test.each([
    '../../evil',
    '/etc/evil',
    'a/../../evil',
    'a\\..\\evil',
    'a//evil',
    '',
    'c:evil',
    'a\nb',
    './evil',
  ])('no name of a file leaves the cache: %j', async (path) => {
    hub.listing = (told) => ({ ...told, siblings: [{ rfilename: path, lfs: { sha256: etag, size: 5 } }] })
    expect(await failure(fetched())).toMatch(
      /^hf:org\/tiny: the Hub's answer names a file that lies in no repository/,
    )
  })

  test.each([
    [
      'a checksum',
      { siblings: [{ rfilename: 'x', size: 5, blobId: '../../../../../../../../../../../evil' }] },
    ],
    ['a checksum', { siblings: [{ rfilename: 'x', size: 5, lfs: { sha256: 'A'.repeat(64) } }] }],
    ['a size', { siblings: [{ rfilename: 'x', size: -1, blobId: 'a'.repeat(40) }] }],
    ['a size', { siblings: [{ rfilename: 'x', size: 2 ** 60, blobId: 'a'.repeat(40) }] }],
    ['a commit', { sha: '../../evil' }],
    ['files', { siblings: 'all' }],
  ])('an answer is refused for %s that is none', async (_, more) => {
    hub.listing = (told) => ({ ...told, ...more })
    expect(await failure(fetched())).toMatch(/^hf:org\/tiny: the Hub's answer /)
  })
})

test('links and files of others in the place of a partial file are not written through', async () => {
  const blobs = join(cache.root, 'models--org--tiny/blobs')
  mkdirSync(blobs, { recursive: true })
  writeFileSync(partialPath(join(blobs, etag)), 'a letter')
  mkdirSync(join(blobs, 'x'))
  expect(readFileSync(await fetched()).equals(model)).toBe(true)
  expect(lstatSync(join(blobs, etag)).size).toBe(model.length)
})

test('a signal ends it, and finished pieces are kept', async () => {
  const stop = new AbortController()
  hub.slow = 2
  const work = fetched('large.gguf', client({ signal: stop.signal }), {
    connections: 1,
    onProgress: (bytes) => bytes > 1.5 * 2 ** 20 && stop.abort(new QuenchError('stopped')),
  })
  expect(await failure(work)).toBe('stopped')
  const kept = readFileSync(
    `${partialPath(join(cache.root, 'models--org--tiny/blobs', sha256(large)))}-pieces`,
  )
  const finished = [...kept.entries()].flatMap(([piece, done]) => (done === 1 ? [piece] : []))
  expect(finished).not.toEqual([])
  hub.slow = 0
  hub.asked.length = 0
  await fetched('large.gguf')
  const asked = hub.asked.map(({ range }) => /^bytes=(\d+)/.exec(range ?? '')?.[1])
  expect(asked.filter((start) => finished.includes(Number(start) / 2 ** 20))).toEqual([])
})

test('where the system has no links the file itself lies in the snapshot, and is not fetched again', async () => {
  const name = await fetched()
  renameSync(cache.blob(id, etag), name)
  hub.sent.clear()
  expect(await fetched()).toBe(name)
  expect(hub.sent.size).toBe(0)
  expect(lstatSync(name).isFile()).toBe(true)
})

describe('proxies', () => {
  afterEach(() => vi.unstubAllEnvs())

  test('are those of the environment, but for hosts that want none', async () => {
    const through: string[] = []
    const proxy = createServer().on('connect', ({ url = '' }, socket) => {
      through.push(url)
      const [host, port] = url.split(':')
      const onward = connect(Number(port), host, () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
      onward.pipe(socket).pipe(onward)
      for (const end of [socket, onward]) end.on('error', () => {}).on('close', () => onward.destroy())
    })
    await once(proxy.listen(0, '127.0.0.1'), 'listening')
    const { port } = proxy.address() as AddressInfo
    vi.stubEnv('HTTP_PROXY', `http://127.0.0.1:${port}`)
    vi.stubEnv('http_proxy', undefined)
    vi.stubEnv('no_proxy', undefined)
    const own = client()
    await fetched('sub/config.json', own)
    await own.close()
    expect(new Set(through)).toEqual(new Set([new URL(hub.endpoint).host]))
    vi.stubEnv('NO_PROXY', '127.0.0.1')
    through.length = 0
    await fetched()
    expect(through).toEqual([])
    proxy.close()
  })

  test('that cannot be used or reached are said', async () => {
    vi.stubEnv('no_proxy', undefined)
    vi.stubEnv('http_proxy', 'http://127.0.0.1:1')
    expect(await failure(fetched())).toMatch(/^hf:org\/tiny: its host refuses the connection; .* the proxy/)
    vi.stubEnv('http_proxy', 'nonsense')
    expect(await failure(fetched())).toBe(
      'HTTPS_PROXY: the address of the proxy cannot be used; it must be one such as http://host:3128',
    )
  })
})
