/** SHA-256 of files and of values. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { systemError } from './files.js'

/** SHA-256 of a file's bytes. @throws FileError */
export async function fileHash(path: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk as Buffer)
  } catch (error) {
    throw systemError(path, error)
  }
  return hash.digest('hex')
}

/** SHA-256 of texts, documents and other JSON values. */
export const contentHash = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex')
