/** SHA-256 of files and of values. */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { systemError } from './files.js'

const pieceBytes = 2 ** 20

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
    const file = await open(path)
    try {
      const piece = Buffer.allocUnsafe(pieceBytes)
      for (;;) {
        signal?.throwIfAborted()
        const { bytesRead } = await file.read(piece, 0, pieceBytes, null)
        if (bytesRead === 0) break
        hash.update(piece.subarray(0, bytesRead))
        onBytes?.(bytesRead)
      }
    } finally {
      await file.close()
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
