/**
 * What the Hub's test server does with uploads: repositories, the batch call of Git LFS, a store for content, and commits. The store has an
 * origin of its own, as the Hub's has, and answers that somebody has a token where none should be.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Asked, HubRepository } from './hub-server.js'

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const gitSha = (bytes: Uint8Array): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')

interface Upload {
  readonly oid: string
  readonly parts: Map<number, Buffer>
}

export class HubUploads {
  /** Content by its SHA-256. */
  readonly objects = new Map<string, Buffer>()
  readonly #begun = new Map<string, Upload>()
  /** How often each part, or a whole file as part 0, came completely: `OID/PART`. */
  readonly received = new Map<string, number>()
  /** Larger files are sent in parts of so many bytes. */
  partBytes = 1000
  /** Milliseconds before a part is taken. */
  slow = 0
  commits = 0

  constructor(
    private readonly repositories: Map<string, HubRepository>,
    private readonly endpoint: () => string,
    private readonly store: () => string,
  ) {}

  /** Ends all uploads that have begun, as time does. */
  expire(): void {
    this.#begun.clear()
  }

  async answer(asked: Asked, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const url = new URL(asked.url, this.endpoint())
    const json = (value: unknown, status = 200): undefined => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    }
    if (/^\/(put|complete|verify)\//.test(url.pathname)) {
      if (asked.authorization !== undefined && url.pathname.startsWith('/put/')) return json({}, 400)
      return this.#store(asked, url, body, response, json)
    }
    if (asked.authorization !== 'Bearer secret') return json({ error: 'token' }, 401)
    if (url.pathname === '/api/repos/create') {
      const { name, organization, private: hidden } = JSON.parse(body.toString())
      const id = `${organization}/${name}`
      if (this.repositories.has(id)) return json({ error: 'exists' }, 409)
      this.repositories.set(id, { files: {}, ...(hidden && { private: true }) })
      return json({ url: `${this.endpoint()}/${id}` })
    }
    const [, id, what] =
      /^\/(?:api\/models\/)?([^/]+\/[^/]+?)(?:\.git\/info\/lfs\/objects)?\/(preupload|batch|commit)(?:\/main)?$/.exec(
        url.pathname,
      ) ?? []
    const repository = this.repositories.get(id)
    if (!repository) return json({ error: 'missing' }, 404)
    if (what === 'preupload') {
      const { files } = JSON.parse(body.toString()) as { files: { path: string; size: number }[] }
      json({
        files: files.map(({ path }) => {
          const large = /\.gguf$/.test(path)
          const there = repository.files[path]
          return {
            path,
            uploadMode: large ? 'lfs' : 'regular',
            ...(there && { oid: large ? sha256(there) : gitSha(there) }),
          }
        }),
      })
    } else if (what === 'batch') {
      const { objects } = JSON.parse(body.toString()) as { objects: { oid: string; size: number }[] }
      json({ transfer: 'multipart', objects: objects.map((object) => this.#target(object)) })
    } else this.#commit(repository, body.toString(), json)
  }

  #target({ oid, size }: { oid: string; size: number }): object {
    if (this.objects.has(oid)) return { oid, size }
    if (size <= this.partBytes) {
      const upload = { href: `${this.store()}/put/${oid}`, header: { 'x-signed': 'yes' } }
      return { oid, size, actions: { upload, verify: { href: `${this.endpoint()}/verify/${oid}` } } }
    }
    const id = randomUUID()
    this.#begun.set(id, { oid, parts: new Map() })
    const count = Math.ceil(size / this.partBytes)
    const urls = Array.from({ length: count }, (_, i) => [
      String(i + 1).padStart(5, '0'),
      `${this.store()}/put/${oid}?upload=${id}&part=${i + 1}`,
    ])
    const header = { chunk_size: String(this.partBytes), ...Object.fromEntries(urls) }
    return {
      oid,
      size,
      actions: { upload: { href: `${this.endpoint()}/complete/${oid}?upload=${id}`, header } },
    }
  }

  #store(
    asked: Asked,
    url: URL,
    body: Buffer,
    response: ServerResponse,
    json: (value: unknown, status?: number) => undefined,
  ): undefined {
    const [, what, oid] = url.pathname.split('/')
    const begun = this.#begun.get(url.searchParams.get('upload') ?? '')
    if (what === 'verify') return json({}, this.objects.has(oid) ? 200 : 404)
    if (url.searchParams.has('upload') && begun?.oid !== oid) return json({}, 404)
    if (what === 'complete') {
      const { parts } = JSON.parse(body.toString()) as { parts: { partNumber: number; etag: string }[] }
      const all = parts.map(({ partNumber, etag }) => {
        const part = begun?.parts.get(partNumber)
        return part && etag === `"${sha256(part)}"` ? part : undefined
      })
      const whole = Buffer.concat(all.filter((part) => part !== undefined))
      if (sha256(whole) !== oid) return json({ error: 'other bytes' }, 422)
      this.objects.set(oid, whole)
      return json({})
    }
    const part = Number(url.searchParams.get('part') ?? 0)
    if (asked.method !== 'PUT' || body.length !== Number(asked.length)) return json({}, 400)
    if (part === 0 && sha256(body) !== oid) return json({}, 400)
    const key = `${oid}/${part}`
    this.received.set(key, (this.received.get(key) ?? 0) + 1)
    if (part === 0) this.objects.set(oid, body)
    else begun?.parts.set(part, body)
    response.writeHead(200, { etag: `"${sha256(body)}"` }).end()
  }

  #commit(
    repository: HubRepository,
    text: string,
    json: (value: unknown, status?: number) => undefined,
  ): undefined {
    const [header, ...lines] = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    if (header.key !== 'header' || typeof header.value.summary !== 'string') return json({}, 400)
    const files: Record<string, Uint8Array> = { ...repository.files }
    for (const { key, value } of lines) {
      const content = key === 'lfsFile' ? this.objects.get(value.oid) : Buffer.from(value.content, 'base64')
      if (!content) return json({ error: 'no such object' }, 400)
      files[value.path] = content
    }
    Object.assign(repository, { files })
    this.commits++
    json({
      success: true,
      commitOid: createHash('sha1').update(text).digest('hex'),
      commitUrl: this.endpoint(),
    })
  }
}
