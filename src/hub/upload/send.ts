/** Sends the content of a large file to where the Hub wants it: in one request, or in parts of which finished ones are kept. */
import type { HubClient, Request } from '../client.js'
import { HubError, Passing } from '../errors.js'
import { lfsRequest, type Multipart, type UploadTarget, uploadTarget } from './batch.js'
import { UploadJournal } from './journal.js'
import type { UploadSource } from './source.js'

export interface SendOptions {
  readonly repository: string
  readonly oid: string
  readonly connections: number
  readonly refusal: NonNullable<Request['refusal']>
  /** Called with bytes that have gone, or with a negative number for those of a try that failed. */
  readonly onBytes: (bytes: number) => void
}

/** Addresses that were kept are valid no longer. */
class Expired extends Error {}

const mostEtag = 1000
/** Of addresses for the same file, where the Hub keeps on refusing its own. */
const mostRounds = 3

/**
 * Does nothing for content that the Hub has.
 * @returns whether anything was sent
 * @throws HubError, FileError
 */
export async function sendFile(hub: HubClient, source: UploadSource, options: SendOptions): Promise<boolean> {
  const { repository, oid, refusal } = options
  const { path, size } = source
  const journal = await UploadJournal.open(hub.settings.endpoint, repository, oid)
  try {
    for (let round = 1; ; round++) {
      const begun = journal.begun
      const target: UploadTarget | undefined = begun
        ? { upload: begun.upload }
        : await uploadTarget(hub, repository, { path, oid, size }, refusal)
      if (!target) {
        journal.forget()
        return round > 1
      }
      try {
        if (target.upload.kind === 'single') await sendWhole(hub, source, target.upload, options)
        else {
          if (!begun) await journal.begin(target.upload)
          await sendParts(hub, source, target.upload, journal, options)
        }
      } catch (error) {
        if (!(error instanceof Expired) || round === mostRounds) throw told(path, error)
        journal.forget()
        continue
      }
      journal.forget()
      if (target.verify !== undefined)
        await request(hub, path, hub.named(path, target.verify), lfsRequest({ oid, size }))
      return true
    }
  } finally {
    journal.release()
  }
}

const told = (path: string, error: unknown): unknown =>
  error instanceof Expired
    ? new HubError(path, 'the Hub refuses the address that it named itself; try again later')
    : error

async function sendWhole(
  hub: HubClient,
  source: UploadSource,
  { href, headers }: { readonly href: string; readonly headers: Readonly<Record<string, string>> },
  options: SendOptions,
): Promise<void> {
  await put(hub, source, hub.named(source.path, href), 0, source.size, headers, options)
}

async function sendParts(
  hub: HubClient,
  source: UploadSource,
  { href, urls, chunkBytes }: Multipart,
  journal: UploadJournal,
  options: SendOptions,
): Promise<void> {
  const { path, size } = source
  const etags = new Map(journal.begun?.etags)
  const ends = (part: number): [number, number] => [
    (part - 1) * chunkBytes,
    Math.min(size, part * chunkBytes),
  ]
  const left = urls.map((_, i) => i + 1).filter((part) => !etags.has(part))
  for (const part of etags.keys()) {
    const [start, end] = ends(part)
    options.onBytes(end - start)
  }
  let failed: unknown
  const work = async (): Promise<void> => {
    for (let part = left.shift(); part !== undefined && failed === undefined; part = left.shift()) {
      const [start, end] = ends(part)
      const etag = await put(hub, source, hub.named(path, urls[part - 1]), start, end, {}, options)
      if (etag === undefined)
        throw new HubError(path, 'the store names no checksum of a part; try again later')
      etags.set(part, etag)
      await journal.finish(part, etag)
    }
  }
  const keep = (error: unknown): void => {
    failed ??= error
  }
  await Promise.all(Array.from({ length: options.connections }, () => work().catch(keep)))
  if (failed !== undefined) {
    for (const part of etags.keys()) options.onBytes(ends(part)[0] - ends(part)[1]) // counted again in the next round
    throw failed
  }
  const parts = urls.map((_, i) => ({ partNumber: i + 1, etag: etags.get(i + 1) }))
  await request(hub, path, hub.named(path, href), {
    ...lfsRequest({ oid: options.oid, parts }),
    accepts: expired,
  })
}

/** Statuses of addresses whose time is over, or whose upload is. */
const expired = [400, 401, 403, 404, 410]

/** A small request whose answer does not matter. @throws Expired, HubError */
async function request(hub: HubClient, about: string, url: URL, asked: Request): Promise<void> {
  await hub.persistently(about, async () => {
    const { statusCode, body } = await hub.open(about, url, asked)
    await body.dump({ limit: 2 ** 16 }).catch(() => {})
    if (statusCode >= 400) throw new Expired()
  })
}

/** @returns the checksum that the store names. @throws Expired, HubError */
function put(
  hub: HubClient,
  source: UploadSource,
  url: URL,
  start: number,
  end: number,
  headers: Readonly<Record<string, string>>,
  { onBytes }: SendOptions,
): Promise<string | undefined> {
  return hub.persistently(source.path, async () => {
    const stalled = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const wait = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => stalled.abort(), hub.silence)
    }
    let gone = 0
    async function* watched(): AsyncGenerator<Uint8Array> {
      for await (const chunk of source.stream(start, end)) {
        wait()
        yield chunk
        gone += chunk.length
        onBytes(chunk.length)
      }
      wait()
    }
    wait()
    try {
      const answer = await hub.open(source.path, url, {
        ...{ method: 'PUT', headers, body: watched, length: end - start },
        ...{ signal: stalled.signal, accepts: expired },
      })
      await answer.body.dump({ limit: 2 ** 16 }).catch(() => {})
      if (answer.statusCode >= 400) throw new Expired()
      const { etag } = answer.headers
      return typeof etag === 'string' && etag.length <= mostEtag ? etag : undefined
    } catch (error) {
      onBytes(-gone)
      if (stalled.signal.aborted && !hub.signal?.aborted)
        throw new Passing('nothing went through for too long')
      throw error
    } finally {
      clearTimeout(timer)
    }
  })
}
