/**
 * Whether a file is what it says: the hash of its tensors against the recorded one, and the files that it was made from, where they are at
 * hand, against their recorded hashes. They are looked for among the named ones, in the Hub's cache, and beside the file. The Hub is asked
 * only for a name of its own, and only for its checksums.
 */
import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { FileError, UsageError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { fileHash } from '../hashes.js'
import { HubCache } from '../hub/cache.js'
import { HubClient, type HubOptions } from '../hub/client.js'
import { openRepository } from '../hub/listing.js'
import { isSafePath, nameOf, sha256Of } from '../hub/repository.js'
import { hubSettings } from '../hub/settings.js'
import type { ProgressEvent } from '../notices.js'
import { type ProvenanceStep, recordedData, type SourceFile, stepsOf } from '../provenance/record.js'
import { dataDigest } from '../provenance/seal.js'
import { entriesOf, statIfThere } from '../system-errors.js'
import { type HubName, parseName } from './parse.js'

export interface VerifyOptions extends HubOptions {
  /** Files and folders that it may have been made from, or names of repositories such as `hf:org/model`. */
  readonly sources?: readonly string[]
  readonly onProgress?: (event: ProgressEvent) => void
}

export interface SourceCheck extends SourceFile {
  /** The command that read it, e.g. `quantize`. */
  readonly command: string
  /** `absent`: it is not at hand, so it was not checked. */
  readonly state: 'same' | 'other' | 'absent'
  /** What was compared. */
  readonly found?: string
}

export interface Verification {
  readonly path: string
  /** How it was made, from the first step to the last. */
  readonly made: readonly ProvenanceStep[]
  readonly data: {
    /** `damaged`: other bytes in tensors of the same size; `converted`: tensors of another size, so the record is of another file. */
    readonly state: 'intact' | 'damaged' | 'converted'
    readonly recorded: string
    readonly sha256: string
  }
  readonly sources: readonly SourceCheck[]
  /** Whether nothing contradicts the record. */
  readonly ok: boolean
}

/** Something that a source may be. */
interface Found {
  readonly name: string
  readonly label: string
  readonly sha256: string
}

/** @throws FileError for a file without a record; HubError */
export async function verifyFile(path: string, options: VerifyOptions = {}): Promise<Verification> {
  const gguf = await openGguf(path)
  try {
    const made = stepsOf(gguf.metadata)
    const recorded = recordedData(gguf.metadata)
    if (!recorded || made.length === 0)
      throw new FileError(
        path,
        'it has no record of how it was made, so there is nothing to verify; files of this version of quench have one',
      )
    const given = (
      await Promise.all((options.sources ?? []).map((name) => named(name, made, options)))
    ).flat()
    const { sha256, bytes } = await dataDigest(gguf, options.onProgress)
    const state = bytes !== recorded.bytes ? 'converted' : sha256 === recorded.sha256 ? 'intact' : 'damaged'
    const sources: SourceCheck[] = []
    for (const { command, sources: files } of made)
      for (const file of files) sources.push({ ...file, command, ...(await check(path, file, given)) })
    const ok = state === 'intact' && sources.every((source) => source.state !== 'other')
    return { path, made, data: { state, recorded: recorded.sha256, sha256 }, sources, ok }
  } finally {
    await gguf.close()
  }
}

async function check(
  path: string,
  { name, repository, revision, sha256 }: SourceFile,
  given: readonly Found[],
): Promise<Pick<SourceCheck, 'state' | 'found'>> {
  const same = given.find((each) => each.sha256 === sha256)
  const chosen = same ?? given.find((each) => each.name === name)
  if (chosen) return { state: same ? 'same' : 'other', found: chosen.label }
  if (!isSafePath(name)) return { state: 'absent' }
  const cached =
    repository !== undefined &&
    revision !== undefined &&
    isSafePath(repository) &&
    /^[0-9a-f]{40}$/.test(revision)
      ? new HubCache(hubSettings().cache).path(repository, revision, name)
      : undefined
  for (const place of [cached, join(dirname(path), basename(name))])
    if (place !== undefined && existsSync(place) && statIfThere(place)?.isFile())
      return { state: (await fileHash(place)) === sha256 ? 'same' : 'other', found: place }
  return { state: 'absent' }
}

/** The files that a name means. @throws UsageError where none of them can be a source */
async function named(
  name: string,
  made: readonly ProvenanceStep[],
  options: VerifyOptions,
): Promise<Found[]> {
  const parsed = parseName(name, hubSettings().endpoint)
  const sources = made.flatMap((step) => step.sources)
  if (parsed.kind === 'hub') return ofHub(parsed, sources, options)
  if (parsed.kind !== 'path')
    throw new UsageError(`--source ${name} must be a file, a folder or a name of the Hub`)
  const { path } = parsed
  if (!statIfThere(path)?.isDirectory())
    return [{ name: basename(path), label: path, sha256: await fileHash(path) }]
  const names = new Set(sources.map((source) => basename(source.name)))
  const found: Found[] = []
  for (const { name } of entriesOf(path)) {
    const label = join(path, name)
    if (names.has(name) && statIfThere(label)?.isFile())
      found.push({ name, label, sha256: await fileHash(label) })
  }
  return found
}

/** By the checksums that the Hub lists; nothing is downloaded. */
async function ofHub(
  { id, revision, pick }: HubName,
  sources: readonly SourceFile[],
  options: HubOptions,
): Promise<Found[]> {
  const hub = new HubClient(hubSettings(), options)
  try {
    const repository = await openRepository(hub, new HubCache(hub.settings.cache), id, revision)
    const names = new Set(sources.map(({ name }) => name))
    return repository.files.flatMap((file): Found[] => {
      const sha256 = sha256Of(file)
      const wanted = names.has(file.path) || file.path === pick
      return sha256 !== undefined && wanted
        ? [{ name: file.path, label: nameOf(repository, file.path), sha256 }]
        : []
    })
  } finally {
    await hub.close()
  }
}
