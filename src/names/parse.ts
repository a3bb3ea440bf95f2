/**
 * What the name of a model means, by its spelling and by what is there:
 *
 *   a path that exists                              that file or folder; FOLDER:TYPE is a file of it
 *   hf:org/model[@revision][:FILE or TYPE]          a repository of the Hub
 *   https://huggingface.co/org/model[/...]          the same; hf.co/org/model:TYPE too
 *   ollama:NAME[:TAG], lm-studio:ORG/MODEL[:TYPE]   a local store
 *   org/model[@revision][:FILE or TYPE]             a repository, if `org` is no folder here and it does not end in .gguf
 *
 * Everything else is a path, and nothing but repositories goes to the network.
 */
import { lstatSync, statSync } from 'node:fs'
import { UsageError } from '../errors.js'
import { isSafePath } from '../hub/repository.js'
import { publicHosts } from '../hub/settings.js'

export interface HubName {
  readonly kind: 'hub'
  /** `org/model` */
  readonly id: string
  readonly revision: string
  /** A file of the repository, or a type such as Q4_K_M. */
  readonly pick?: string
}

export interface StoreName {
  readonly kind: 'ollama' | 'lm-studio'
  readonly name: string
  readonly pick?: string
}

export interface PathName {
  readonly kind: 'path'
  readonly path: string
  /** After a folder that exists, as in `models:Q4_K_M`. */
  readonly pick?: string
}

export type ModelName = PathName | HubName | StoreName

const part = '[A-Za-z0-9][A-Za-z0-9._-]{0,95}'
const repository = new RegExp(`^(${part}(?:/${part})?)(?:@([^:@]+))?(?::(.+))?$`, 's')

/** @throws UsageError for a name of a repository or an address that is none */
export function parseName(text: string, endpoint: string): ModelName {
  const path = { kind: 'path', path: text } as const
  if (isThere(text)) return path
  const scheme = /^(hf|ollama|lm-studio):(?:\/\/)?/.exec(text)
  if (scheme) {
    const name = text.slice(scheme[0].length)
    return scheme[1] === 'hf' ? repositoryNamed(text, name) : storeNamed(scheme[1] as StoreName['kind'], name)
  }
  const [, folder, pick] = /^(.+):([^:]+)$/s.exec(text) ?? []
  if (folder !== undefined && isFolder(folder)) return { kind: 'path', path: folder, pick }
  const address = addressOf(text, endpoint)
  if (address !== undefined) return address
  const [first, second] = text.split('/')
  const plain = second !== undefined && repository.test(text) && !/\.gguf$/i.test(text)
  return plain && !isFolder(first) ? repositoryNamed(text, text) : path
}

const isFolder = (path: string): boolean => {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  } catch {
    return false // a part of it is a file, or may not be looked into
  }
}

const isThere = (path: string): boolean => {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    return false
  }
}

function repositoryNamed(text: string, name: string): HubName {
  const [, id, revision = 'main', pick] = repository.exec(name) ?? []
  if (id === undefined || /--|\.\.|\.git$/.test(id))
    throw new UsageError(
      `${text} does not name a repository; write hf:ORG/MODEL, and after it @REVISION or :FILE or :TYPE if need be`,
    )
  return hubName(text, id, revision, pick)
}

function hubName(text: string, id: string, revision: string, pick?: string): HubName {
  if (!isSafePath(revision)) throw new UsageError(`${text} names a revision that cannot be one: ${revision}`)
  if (pick !== undefined && !isSafePath(pick))
    throw new UsageError(`${text} names a file that cannot be one: ${pick}`)
  return { kind: 'hub', id, revision, ...(pick !== undefined && { pick }) }
}

/** An address of the public Hub, or of HF_ENDPOINT: of a repository, a revision (`/tree/main`) or a file (`/blob/main/FILE`). */
function addressOf(text: string, endpoint: string): HubName | undefined {
  const full = /^https?:\/\//i.test(text) ? text : `https://${text}`
  if (!URL.canParse(full)) return undefined
  const url = new URL(full)
  const own = full.startsWith(`${endpoint}/`)
  const isPublic = publicHosts.includes(url.host)
  if (!own && !isPublic) {
    if (full !== text) return undefined
    throw new UsageError(`${text} is no address of the Hub; download it, or write hf:ORG/MODEL`)
  }
  const rest = own ? full.slice(endpoint.length + 1) : url.pathname.slice(1)
  const path = decoded(rest.replace(/[?#].*$/s, '').replace(/\/+$/, ''))
  const [, id, kind, revision, file] =
    new RegExp(`^(${part}/${part})/(tree|blob|resolve|raw)/([^/]+)(?:/(.+))?$`, 's').exec(path ?? '') ?? []
  if (id === undefined) return repositoryNamed(text, path ?? '')
  return hubName(text, id, revision, kind === 'tree' ? undefined : file)
}

function decoded(path: string): string | undefined {
  try {
    return decodeURIComponent(path)
  } catch {
    return undefined
  }
}

function storeNamed(kind: StoreName['kind'], name: string): StoreName {
  if (kind === 'ollama') return { kind, name }
  const [, model, pick] = /^([^:]+)(?::(.+))?$/s.exec(name) ?? [name, name]
  return { kind, name: model, ...(pick !== undefined && { pick }) }
}
