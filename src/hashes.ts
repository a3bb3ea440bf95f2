/** SHA-256 of files and of values. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { systemError } from './files.js'

/**
 * SHA-256 of a file's bytes.
 * @param onBytes called with the bytes of every piece
 * @throws FileError; the signal's reason
 */
export async function fileHash(
  path: string,
  { onBytes, signal }: { onBytes?: (bytes: number) => void; signal?: AbortSignal } = {},
): Promise<string> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) {
      signal?.throwIfAborted()
      hash.update(chunk as Buffer)
      onBytes?.(chunk.length)
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw systemError(path, error)
  }
  return hash.digest('hex')
}

/** SHA-256 of texts, documents and other JSON values. */
export const contentHash = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex')
