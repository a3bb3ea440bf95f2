/** What is in a repository, as the Hub says, or as the cache has it where nobody is asked. */
import type { HubCache } from './cache.js'
import type { HubClient } from './client.js'
import { HubError } from './errors.js'
import { isSafePath, nameOf, type Repository, type RepositoryFile } from './repository.js'

const mostFiles = 100_000

/**
 * Lists a repository. Offline, or where the Hub does not answer, this is what the cache holds of it.
 * @throws HubError
 */
export async function openRepository(
  hub: HubClient,
  cache: HubCache,
  id: string,
  revision: string,
): Promise<Repository> {
  const subject = nameOf({ id, revision })
  const kept = cache.repository(id, revision)
  if (hub.settings.offline || (kept && kept.commit === revision)) {
    if (kept) return kept
    throw new HubError(subject, 'it is not in the cache, and HF_HUB_OFFLINE forbids to ask the Hub')
  }
  try {
    const url = hub.url(`api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`)
    return { id, revision, cached: false, ...listed(subject, await hub.json(subject, url)) }
  } catch (error) {
    if (!kept || !(error instanceof HubError) || !isOutage(error)) throw error
    hub.note(`${error.message}; going on with what the cache has of it`)
    return kept
  }
}

const isOutage = ({ status }: HubError): boolean => status === undefined || status === 429 || status >= 500

function listed(subject: string, answer: unknown): Pick<Repository, 'commit' | 'files'> {
  const wrong = (problem: string) => new HubError(subject, `the Hub's answer ${problem}; check HF_ENDPOINT`)
  const { sha, siblings } = record(answer)
  if (typeof sha !== 'string' || !/^[0-9a-f]{40}$/.test(sha)) throw wrong('names no commit')
  if (!Array.isArray(siblings)) throw wrong('lists no files')
  if (siblings.length > mostFiles) throw wrong(`lists more than ${mostFiles} files`)
  const files = siblings.map((sibling: unknown): RepositoryFile => {
    const { rfilename: path, size, blobId, lfs } = record(sibling)
    if (typeof path !== 'string' || !isSafePath(path)) throw wrong('names a file that lies in no repository')
    const { sha256, size: stored = size } = record(lfs)
    const etag = sha256 ?? blobId
    if (typeof etag !== 'string' || !/^([0-9a-f]{64}|[0-9a-f]{40})$/.test(etag))
      throw wrong(`has no checksum of ${path}`)
    if (typeof stored !== 'number' || !Number.isSafeInteger(stored) || stored < 0)
      throw wrong(`has no size of ${path}`)
    return { path, size: stored, etag }
  })
  return { commit: sha, files }
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
