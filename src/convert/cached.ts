/**
 * Checkpoints that were converted for a command, kept in quench's cache: `converted/HASH/NAME.gguf`, where the hash is of the
 * checkpoint's files (names, sizes, times), the type and quench's version. Those that were not used for a day go, the oldest first, where all
 * of them would take more than the limit.
 */
import { readdirSync, rmSync, statSync, utimesSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type CacheEntry, listCache } from '../cache.js'
import { ownCacheFolder } from '../cache-folder.js'
import { UsageError } from '../errors.js'
import { contentHash } from '../hashes.js'
import { tryLock, waitForLock } from '../locks.js'
import type { ProgressEvent } from '../notices.js'
import { convertCheckpoint, defaultType } from './convert.js'

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }
const defaultLimit = 100e9
const dayMs = 24 * 3600 * 1000

interface CachedOptions {
  readonly folder: string
  /** What the model is called; the file's name begins with it. */
  readonly title: string
  readonly onProgress?: (event: ProgressEvent) => void
  /** Called before the work. @param type that is written */
  readonly onConvert?: (type: string) => void
  readonly onWarning?: (warning: string) => void
  readonly signal?: AbortSignal
}

/** The GGUF file of a checkpoint. @throws FileError that says what cannot be converted; UsageError for a bad limit */
export async function cachedConversion(options: CachedOptions): Promise<string> {
  const { folder, title, onProgress, signal } = options
  const files = readdirSync(folder)
    .map((name) => ({ name, found: statSync(join(folder, name), { throwIfNoEntry: false }) }))
    .flatMap(({ name, found }) => (found?.isFile() ? [{ name, size: found.size, time: found.mtimeMs }] : []))
  const type = await defaultType(folder)
  const key = contentHash({ version, type, title, files }).slice(0, 32)
  const output = join(ownCacheFolder('converted'), key, `${title}-${type}.gguf`)
  const lock = await waitForLock(join(ownCacheFolder('converted'), key), () => {}, signal)
  try {
    if (statSync(output, { throwIfNoEntry: false })) {
      const now = new Date()
      utimesSync(output, now, now)
      return output
    }
    ownCacheFolder('converted', key)
    options.onConvert?.(type)
    const bytes = files.reduce((sum, { name, size }) => sum + (/\.safetensors$/.test(name) ? size : 0), 0)
    await makeSpace(limit() - bytes)
    const { warnings } = await convertCheckpoint({
      folder,
      output,
      name: title,
      ...(onProgress && { onProgress }),
      ...(signal && { signal }),
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

/** Removes what was not used for a day until all conversions take no more than `most` bytes. */
async function makeSpace(most: number): Promise<void> {
  const converted = listCache().entries.filter(({ kind }) => kind === 'converted')
  let bytes = converted.reduce((sum, entry) => sum + entry.bytes, 0)
  const old = (entry: CacheEntry): number => Date.parse(entry.lastUse)
  for (const entry of converted.sort((a, b) => old(a) - old(b))) {
    if (bytes <= most || Date.now() - old(entry) < dayMs) return
    const lock = await tryLock(entry.path)
    if (!('release' in lock)) continue
    rmSync(entry.path, { recursive: true, force: true })
    lock.release()
    bytes -= entry.bytes
  }
}
