/**
 * Files into a repository of the Hub, in the steps of its own tools:
 *
 *   create the repository -> ask which files are large (preupload) -> send the large ones -> one commit that names all of them
 *
 * Nothing is seen in the repository before the commit. Whatever was sent before an interruption is not sent again.
 * Source: _commit_api.py and hf_api.py of huggingface_hub.
 */
import { createHash } from 'node:crypto'
import { UsageError } from '../../errors.js'
import type { ProgressEvent } from '../../notices.js'
import type { HubClient, Request } from '../client.js'
import { HubError, Passing } from '../errors.js'
import { encodePath } from '../repository.js'
import { branch, record } from './batch.js'
import { sendFile } from './send.js'
import type { UploadSource } from './source.js'

export interface PushOptions {
  /** `org/name` */
  readonly repository: string
  readonly sources: readonly UploadSource[]
  /** Of a repository that is made. */
  readonly private: boolean
  /** First line of the commit. */
  readonly summary: string
  /** Parts of a file that are sent at once. */
  readonly connections: number
  /** `checksum` and `push`, in bytes. */
  readonly onProgress?: (event: ProgressEvent) => void
}

export interface PushResult {
  /** Address of the repository. */
  readonly url: string
  /** The new commit; undefined if all was there already. */
  readonly commit?: string
  /** Files that were sent in this run, and those whose content the Hub had. */
  readonly sent: readonly string[]
  readonly present: readonly string[]
}

/** A file as a commit names it. */
interface Change {
  readonly source: UploadSource
  /** Absent: its content is in the commit. */
  readonly oid?: string
}

/** Larger files are never part of a commit. */
const mostInCommit = 10e6
const sampleBytes = 512
/** Files that one question names. */
const mostAsked = 256

/** @throws UsageError without a token; HubError, FileError */
export async function push(hub: HubClient, options: PushOptions): Promise<PushResult> {
  const { repository, sources, onProgress } = options
  const subject = `hf:${repository}`
  if (hub.settings.offline) throw new HubError(subject, 'HF_HUB_OFFLINE forbids to open a connection')
  if (hub.settings.token === undefined)
    throw new UsageError('pushing needs a token that may write: set HF_TOKEN, or log in with `hf auth login`')
  await create(hub, options)
  const answers = await preupload(hub, subject, options)
  const total = sources.reduce((sum, { size }) => sum + size, 0)
  let hashed = 0
  const onHash = (bytes: number): void => {
    hashed += bytes
    onProgress?.({ stage: 'checksum', done: hashed, total })
  }
  const changes: Change[] = []
  const [sent, present]: string[][] = [[], []]
  for (const source of sources) {
    const { large, oid: there } = answers.get(source.path) ?? { large: true }
    const oid = large ? await source.sha256(onHash, hub.signal) : undefined
    if (there !== undefined && there === (oid ?? (await gitHash(source)))) present.push(source.path)
    else changes.push({ source, ...(oid !== undefined && { oid }) })
  }
  const all = changes.reduce((sum, { source, oid }) => sum + (oid === undefined ? 0 : source.size), 0)
  let done = 0
  for (const { source, oid } of changes) {
    if (oid === undefined) continue
    let own = 0
    const tell = (bytes: number): void => {
      own += bytes
      onProgress?.({ stage: 'push', done: Math.min(done + own, all), total: all })
    }
    const { connections } = options
    const went = await sendFile(hub, source, { repository, oid, connections, refusal, onBytes: tell })
    if (went) sent.push(source.path)
    else present.push(source.path)
    done += source.size
  }
  const url = `${hub.settings.endpoint}/${repository}`
  if (changes.length === 0) return { url, sent, present }
  const commit = await commitOf(hub, subject, options, changes)
  return {
    url,
    commit,
    sent: [...sent, ...changes.flatMap(({ source, oid }) => (oid === undefined ? [source.path] : []))],
    present,
  }
}

/** What a refusal of writing means. */
function refusal(status: number): string | undefined {
  if (status === 401) return 'the Hub refuses the token; check HF_TOKEN, or log in anew with `hf auth login`'
  if (status === 403)
    return 'the token may not write there; use one with the right to write, or another --repo'
  if (status === 404) return 'there is no such repository, or the token may not see it; check --repo'
  if (status === 409 || status === 412) return 'somebody else changed the repository meanwhile; try again'
  if (status === 413) return 'it is larger than the Hub takes; make it smaller or split it (--split-size)'
  return undefined
}

const post = (value: unknown): Request => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
  refusal,
})

/** Answers of the Hub to somebody who may not make a repository, but may write to one that exists. */
const mayNotCreate = [401, 402, 403]

/** A repository that exists stays as it is. */
async function create(hub: HubClient, { repository, private: hidden }: PushOptions): Promise<void> {
  const [organization, name] = repository.split('/')
  const subject = `hf:${repository}`
  const asked = post({ type: 'model', name, organization, private: hidden })
  const status = await hub.persistently(subject, async () => {
    const answer = await hub.open(subject, hub.url('api/repos/create'), {
      ...asked,
      accepts: [409, ...mayNotCreate],
    })
    const said = (await hub.bytes(subject, answer, 2 ** 20)).toString()
    // The Hub makes one repository of a user at a time.
    if (answer.statusCode === 409 && said.includes('conflicting operation'))
      throw new Passing('the Hub is making another repository', undefined, 409)
    return answer.statusCode
  })
  if (mayNotCreate.includes(status) && !(await exists(hub, subject, repository)))
    throw new HubError(
      subject,
      status === 402
        ? 'there is no such repository, and the Hub wants to be paid for making one; make it on its pages first'
        : (refusal(status) as string),
      status,
    )
  if (hidden && status >= 400) hub.note(`${subject} exists already; who can see it stays as it is`)
}

const exists = (hub: HubClient, subject: string, repository: string): Promise<boolean> =>
  hub.persistently(subject, async () => {
    const { statusCode, body } = await hub.open(
      subject,
      hub.url(`api/models/${encodePath(repository)}/revision/${branch}`),
      {
        accepts: [401, 403, 404],
      },
    )
    body.on('error', () => {}) // of its end
    body.destroy()
    return statusCode < 400
  })

interface Preupload {
  readonly large: boolean
  /** Of what is there under this name. */
  readonly oid?: string
}

async function preupload(
  hub: HubClient,
  subject: string,
  { repository, sources }: PushOptions,
): Promise<Map<string, Preupload>> {
  const url = hub.url(`api/models/${encodePath(repository)}/preupload/${branch}`)
  const answers = new Map<string, Preupload>()
  for (let first = 0; first < sources.length; first += mostAsked) {
    const some = sources.slice(first, first + mostAsked)
    const { files } = record(
      await hub.json(subject, url, post({ files: await Promise.all(some.map(described)) })),
    )
    if (!Array.isArray(files))
      throw new HubError(subject, "the Hub's answer tells nothing of the files; check HF_ENDPOINT")
    const sizes = new Map(some.map(({ path, size }) => [path, size]))
    for (const { path, uploadMode, oid, shouldIgnore } of files.map(record)) {
      const size = typeof path === 'string' ? sizes.get(path) : undefined
      if (size === undefined) continue
      if (shouldIgnore === true)
        throw new HubError(
          path as string,
          `the .gitignore of ${subject} leaves out such files; change it first`,
        )
      // Stores refuse files without content.
      const large = size > 0 && (uploadMode !== 'regular' || size > mostInCommit)
      answers.set(path as string, { large, ...(typeof oid === 'string' && { oid }) })
    }
  }
  return answers
}

/** What the Hub decides by. */
async function described(source: UploadSource): Promise<object> {
  const { path, size } = source
  const chunks: Uint8Array[] = []
  for await (const chunk of source.stream(0, Math.min(size, sampleBytes))) chunks.push(chunk)
  return { path, size, sample: Buffer.concat(chunks).toString('base64') }
}

/** Name of a git object. */
async function gitHash(source: UploadSource): Promise<string> {
  const bytes = await source.bytes()
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
}

async function commitOf(
  hub: HubClient,
  subject: string,
  { repository, summary }: PushOptions,
  changes: readonly Change[],
): Promise<string> {
  const lines: object[] = [{ key: 'header', value: { summary, description: '' } }]
  for (const { source, oid } of changes) {
    const { path, size } = source
    if (oid !== undefined) lines.push({ key: 'lfsFile', value: { path, algo: 'sha256', oid, size } })
    else {
      const content = (await source.bytes()).toString('base64')
      lines.push({ key: 'file', value: { path, content, encoding: 'base64' } })
    }
  }
  const answer = await hub.json(subject, hub.url(`api/models/${encodePath(repository)}/commit/${branch}`), {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    refusal,
  })
  const { commitOid } = record(answer)
  if (typeof commitOid !== 'string' || !/^[0-9a-f]{40}$/.test(commitOid))
    throw new HubError(subject, "the Hub's answer names no commit; look whether the files are there")
  return commitOid
}
