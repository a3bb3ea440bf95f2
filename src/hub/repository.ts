/** A repository at a revision, and the names of what is in it. */

export interface RepositoryFile {
  /** Within the repository, with slashes. */
  readonly path: string
  /** In bytes. */
  readonly size: number
  /** Name of its blob: the SHA-256 of a large file, the SHA-1 of the git object of a small one. */
  readonly etag: string
}

export interface Repository {
  /** `org/name` */
  readonly id: string
  /** Branch, tag or commit that was asked for. */
  readonly revision: string
  /** The commit that this was; 40 hexadecimal digits. */
  readonly commit: string
  readonly files: readonly RepositoryFile[]
  /** Whether this is what the cache holds, and not what the Hub says now. */
  readonly cached: boolean
}

const mostNameBytes = 255

/** SHA-256 of a file that the Hub keeps in large file storage; undefined for a small one. */
export const sha256Of = ({ etag }: RepositoryFile): string | undefined =>
  etag.length === 64 ? etag : undefined

/** Name of a repository, or of a file in it, as people type it. */
export const nameOf = ({ id, revision }: Pick<Repository, 'id' | 'revision'>, file?: string): string =>
  `hf:${id}${revision === 'main' ? '' : `@${revision}`}${file === undefined ? '' : `:${file}`}`

/** Whether a name from an answer stays within its repository on every system. */
export const isSafePath = (path: string): boolean => path.length <= 4096 && path.split('/').every(isSafeName)

const isSafeName = (name: string): boolean =>
  name !== '' &&
  name !== '.' &&
  name !== '..' &&
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they have no place in a name
  !/[\x00-\x1f\x7f\\:]/.test(name) &&
  Buffer.byteLength(name) <= mostNameBytes

/** A path as part of an address. */
export const encodePath = (path: string): string => path.split('/').map(encodeURIComponent).join('/')
