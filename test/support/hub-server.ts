/**
 * A server on loopback that speaks what quench uses of the Hub: the listing of a repository, and files behind a redirect, in ranges. Its
 * faults are those that people meet: slow answers, cut connections, refusals, and answers that are something else.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { HubUploads } from './hub-uploads.js'

export interface HubRepository {
  /** Content by path. */
  readonly files: Readonly<Record<string, Uint8Array>>
  /** Paths that are kept as git objects, with a SHA-1. */
  readonly small?: readonly string[]
  /** Branches and tags besides `main`. */
  readonly revisions?: readonly string[]
  readonly gated?: true
  /** Needs the token `secret`. */
  readonly private?: true
}

export interface Asked {
  readonly method: string
  readonly url: string
  readonly range?: string
  readonly authorization?: string
  /** Host and port that were asked. */
  readonly host: string
  /** `Content-Length` */
  readonly length?: string
}

/** Takes the place of an answer; false leaves it to the server. */
export type Fault = (
  asked: Asked,
  response: ServerResponse,
  request: IncomingMessage,
) => boolean | Promise<boolean>

export interface HubServer {
  /** For HF_ENDPOINT. */
  readonly endpoint: string
  readonly repositories: Map<string, HubRepository>
  readonly uploads: HubUploads
  /** Every request, in order. */
  readonly asked: Asked[]
  /** Bytes of file content that were sent, by path. */
  readonly sent: Map<string, number>
  fault: Fault | undefined
  /** Milliseconds before each 64 KiB of a file. */
  slow: number
  /** Replaces what the listing says. */
  listing: ((answer: Record<string, unknown>) => unknown) | undefined
  close(): Promise<void>
}

export const commitOf = (id: string): string => createHash('sha1').update(id).digest('hex')
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const gitSha = (bytes: Uint8Array): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')

/** What the Hub tells of a file; a git object has no `lfs`. */
function sibling(path: string, bytes: Uint8Array, small: boolean) {
  const file = { rfilename: path, size: bytes.length, blobId: gitSha(bytes) }
  return small ? file : { ...file, lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 134 } }
}

export async function openHub(): Promise<HubServer> {
  const sockets = new Set<Socket>()
  const servers = [0, 1].map(() =>
    createServer((request, response) => {
      answer(hub, request, response).catch(() => response.destroy())
    }),
  )
  const origins: string[] = []
  for (const server of servers) {
    server.on('connection', (socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    origins.push(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  }
  const [endpoint, store] = origins
  const repositories = new Map<string, HubRepository>()
  const hub: HubServer = {
    endpoint,
    repositories,
    uploads: new HubUploads(
      repositories,
      () => endpoint,
      () => store,
    ),
    asked: [],
    sent: new Map(),
    fault: undefined,
    slow: 0,
    listing: undefined,
    close: () => {
      for (const socket of sockets) socket.destroy()
      return Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve)))).then(
        () => {},
      )
    },
  }
  return hub
}

async function answer(hub: HubServer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { range, authorization, host = '' } = request.headers
  const length = request.headers['content-length']
  const asked: Asked = {
    method: request.method as string,
    url: request.url as string,
    ...(range !== undefined && { range }),
    ...(authorization !== undefined && { authorization }),
    host,
    ...(length !== undefined && { length }),
  }
  hub.asked.push(asked)
  if (await hub.fault?.(asked, response, request)) return
  if (asked.method !== 'GET') {
    if (hub.uploads.slow > 0) await setTimeout(hub.uploads.slow)
    return hub.uploads.answer(asked, request, response)
  }
  const path = decodeURIComponent(asked.url.replace(/\?.*/, ''))
  if (path === '/api/models') return search(hub, new URL(asked.url, hub.endpoint).searchParams, response)
  const [, listed, revision] = /^\/api\/models\/(.+?)\/revision\/(.+)$/.exec(path) ?? []
  const [, store, repository, , file] =
    /^\/(store\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path) ?? []
  const id = listed ?? repository
  const found = hub.repositories.get(id)
  const refuse = (status: number, code: string): void => {
    response.writeHead(status, { 'x-error-code': code }).end(JSON.stringify({ error: code }))
  }
  const known = authorization === 'Bearer secret'
  if (!found || (found.private && !known && !store)) return refuse(known ? 404 : 401, 'RepoNotFound')
  if (listed !== undefined) {
    const { files, small = [], revisions = [] } = found
    if (!['main', commitOf(id), ...revisions].includes(revision)) return refuse(404, 'RevisionNotFound')
    const siblings = Object.entries(files).map(([path, bytes]) => sibling(path, bytes, small.includes(path)))
    const told = { id, sha: commitOf(id), siblings }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(hub.listing ? hub.listing(told) : told))
    return
  }
  if (found.gated && !known && !store) return refuse(403, 'GatedRepo')
  const bytes = found.files[file]
  if (!bytes) return refuse(404, 'EntryNotFound')
  if (!store && !found.small?.includes(file)) {
    response.writeHead(302, { location: `/store${asked.url}` }).end()
    return
  }
  await send(hub, response, bytes, range, file)
}

/** Repositories of an owner with a word in their names. */
function search({ repositories }: HubServer, query: URLSearchParams, response: ServerResponse): void {
  const [author, word] = [query.get('author'), query.get('search')?.toLowerCase() ?? '']
  const found = [...repositories.keys()].filter(
    (id) => id.startsWith(`${author}/`) && id.toLowerCase().includes(word),
  )
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(found.map((id) => ({ _id: commitOf(id), id, modelId: id, private: false }))))
}

async function send(
  hub: HubServer,
  response: ServerResponse,
  bytes: Uint8Array,
  range: string | undefined,
  path: string,
): Promise<void> {
  const [, from = '0', to = String(bytes.length - 1)] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []
  const [start, end] = [Number(from), Number(to) + 1]
  response.writeHead(range === undefined ? 200 : 206, {
    'content-length': end - start,
    ...(range !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` }),
  })
  for (let at = start; at < end && !response.destroyed; at += 65536) {
    if (hub.slow > 0) await setTimeout(hub.slow)
    const part = bytes.subarray(at, Math.min(end, at + 65536))
    hub.sent.set(path, (hub.sent.get(path) ?? 0) + part.length)
    if (!response.write(part)) await drainedOrClosed(response)
  }
  response.end()
}

function drainedOrClosed(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}
