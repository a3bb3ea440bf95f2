/**
 * Where the Hub wants large files: the batch call of Git LFS, with the transfers `basic` (one address) and `multipart` (one for each part).
 * Source: lfs.py of huggingface_hub; docs/api/batch.md of git-lfs.
 */
import type { HubClient, Request } from '../client.js'
import { HubError } from '../errors.js'

/** A file in one request. */
interface Single {
  readonly kind: 'single'
  readonly href: string
  readonly headers: Readonly<Record<string, string>>
}

/** A file in parts; `href` is told once all are there. */
export interface Multipart {
  readonly kind: 'multipart'
  readonly href: string
  readonly chunkBytes: number
  readonly urls: readonly string[]
}

export interface UploadTarget {
  readonly upload: Single | Multipart
  /** Address to be told when it is there. */
  readonly verify?: string
}

/** That is pushed to. */
export const branch = 'main'
const type = 'application/vnd.git-lfs+json'
const lfsHeaders = { accept: type, 'content-type': type }
const mostParts = 10_000

/** A request with JSON, as Git LFS has it. */
export const lfsRequest = (value: unknown): Request => ({
  method: 'POST',
  headers: lfsHeaders,
  body: JSON.stringify(value),
})

/** @returns undefined for content that the Hub has already. @throws HubError for an answer that names no place for it */
export async function uploadTarget(
  hub: HubClient,
  repository: string,
  { path, oid, size }: { readonly path: string; readonly oid: string; readonly size: number },
  refusal: NonNullable<Request['refusal']>,
): Promise<UploadTarget | undefined> {
  const wrong = (problem: string) => new HubError(path, `the Hub's answer ${problem}; try again later`)
  const answer = await hub.json(path, hub.url(`${repository}.git/info/lfs/objects/batch`), {
    ...lfsRequest({
      operation: 'upload',
      transfers: ['basic', 'multipart'],
      objects: [{ oid, size }],
      hash_algo: 'sha256',
      ref: { name: branch },
    }),
    refusal,
  })
  const { objects } = record(answer)
  const found = Array.isArray(objects) ? objects.map(record).find((each) => each.oid === oid) : undefined
  if (!found) throw wrong('does not tell where the file goes')
  const { message } = record(found.error)
  if (found.error !== undefined)
    throw new HubError(path, `the Hub does not take it: ${String(message).slice(0, 300)}`)
  if (found.actions === undefined || found.actions === null) return undefined
  const { upload, verify } = record(found.actions)
  if (upload === undefined) return undefined
  const { href, header } = record(upload)
  const safe = (url: unknown): string => hub.named(path, url).href
  const verified = verify === undefined ? {} : { verify: safe(record(verify).href) }
  const { chunk_size: chunk, ...others } = record(header)
  if (chunk === undefined) {
    const headers = Object.entries(others).filter(([, value]) => typeof value === 'string') as [
      string,
      string,
    ][]
    return { upload: { kind: 'single', href: safe(href), headers: Object.fromEntries(headers) }, ...verified }
  }
  const chunkBytes = Number(chunk)
  const parts = Math.ceil(size / chunkBytes)
  if (!Number.isSafeInteger(chunkBytes) || chunkBytes < 1 || parts > mostParts)
    throw wrong('names parts of no size')
  const urls = Object.entries(others)
    .filter(([key]) => /^\d+$/.test(key))
    .toSorted(([a], [b]) => Number(a) - Number(b))
    .map(([, url]) => safe(url))
  if (urls.length !== parts) throw wrong(`names ${urls.length} places for ${parts} parts`)
  return { upload: { kind: 'multipart', href: safe(href), chunkBytes, urls }, ...verified }
}

export const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
