/**
 * Checkpoints that were converted for a command, kept in quench's cache: `converted/HASH/NAME.gguf`, where the hash is of the
 * checkpoint's files (names, sizes, times), the type and quench's version. Those that were not used for a day go, the oldest first, where all
 * of them would take more than the limit.
 */
import { utimesSync } from 'node:fs'
import { join } from 'node:path'
import { trimCache } from '../cache.js'
import { ownCacheFolder } from '../cache-folder.js'
import { UsageError } from '../errors.js'
import { contentHash } from '../hashes.js'
import { ofProcess, waitForLock } from '../locks.js'
import type { ProgressEvent } from '../notices.js'
import { version } from '../provenance/version.js'
import { entriesOf, statIfThere } from '../system-errors.js'
import { convertCheckpoint, defaultType } from './convert.js'

const defaultLimit = 100e9
const dayMs = 24 * 3600 * 1000

interface CachedOptions {
  readonly folder: string
  /** What the model is called; the file's name begins with it. */
  readonly title: string
  readonly onProgress?: (event: ProgressEvent) => void
  /** What is about to happen. */
  readonly onNote?: (sentence: string) => void
  readonly onWarning?: (warning: string) => void
}

/** The GGUF file of a checkpoint. @throws FileError that says what cannot be converted; UsageError for a bad limit */
export async function cachedConversion(options: CachedOptions): Promise<string> {
  const { folder, title, onProgress, onNote } = options
  const files = entriesOf(folder)
    .map(({ name }) => ({ name, found: statIfThere(join(folder, name)) }))
    .flatMap(({ name, found }) => (found?.isFile() ? [{ name, size: found.size, time: found.mtimeMs }] : []))
  const type = await defaultType(folder)
  const key = contentHash({ version, type, title, files }).slice(0, 32)
  const entry = join(ownCacheFolder('converted'), key)
  const output = join(entry, `${title}-${type}.gguf`)
  const lock = await waitForLock(entry, (holder) =>
    onNote?.(`waiting for another quench${ofProcess(holder)}, which is converting ${folder}`),
  )
  try {
    if (statIfThere(output)) {
      const now = new Date()
      utimesSync(output, now, now)
      return output
    }
    const bytes = files.reduce((sum, { name, size }) => sum + (/\.safetensors$/.test(name) ? size : 0), 0)
    await trimCache('converted', limit() - bytes, dayMs)
    ownCacheFolder('converted', key)
    onNote?.(`converting the checkpoint ${folder} to ${type}; the file is kept in the cache`)
    const { warnings } = await convertCheckpoint({
      folder,
      output,
      name: title,
      ...(onProgress && { onProgress }),
    })
    for (const warning of warnings) options.onWarning?.(warning)
    return output
  } finally {
    lock.release()
  }
}

/** In bytes, as `QUENCH_CACHE_LIMIT` says in GB. */
function limit(): number {
  const text = process.env.QUENCH_CACHE_LIMIT
  if (!text) return defaultLimit
  const [, amount] = /^(\d+(?:\.\d+)?) ?(?:GB)?$/i.exec(text) ?? []
  if (amount === undefined) throw new UsageError(`QUENCH_CACHE_LIMIT is ${text}; it must be a number of GB`)
  return Number(amount) * 1e9
}
