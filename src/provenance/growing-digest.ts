/**
 * The hash of a file's tensors while libllama writes them, one after another: what lies before the end of the file is final but for the
 * header, which comes last. So the hash is there soon after the last tensor, and the file need not be read once more.
 */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import { padded } from '../gguf/header.js'
import type { Gguf } from '../gguf/index.js'
import type { DataDigest } from '../gguf/writer.js'

/** Where tensors are expected, in the order of the file. */
interface Place {
  readonly offset: number
  readonly bytes: number
}

export interface FollowedDigest extends DataDigest {
  readonly places: readonly Place[]
}

const pieceBytes = 2 ** 20
/** Time between two looks at the size of the file. */
const lookMs = 20

/** The places of tensors of these sizes at the end of a file of `fileBytes`. */
export function placesOf(sizes: readonly number[], fileBytes: number, alignment: number): Place[] {
  let offset = fileBytes - sizes.reduce((sum, bytes) => sum + padded(bytes, alignment), 0)
  return sizes.map((bytes) => {
    const place = { offset, bytes }
    offset += padded(bytes, alignment)
    return place
  })
}

/**
 * Hashes the tensors of a file that grows.
 * @param written settles when nothing more is written
 * @returns undefined if the file ends too early or cannot be read
 */
export async function followDigest(
  path: string,
  places: readonly Place[],
  written: Promise<unknown>,
): Promise<FollowedDigest | undefined> {
  let ended = false
  const note = (): void => {
    ended = true
  }
  const end = written.then(note, note)
  const hash = createHash('sha256')
  const piece = Buffer.alloc(pieceBytes)
  const file = await open(path).catch(() => undefined)
  if (!file) return undefined
  try {
    let size = 0
    for (const { offset, bytes } of places)
      for (let at = 0; at < bytes; ) {
        const wanted = Math.min(pieceBytes, bytes - at)
        while (offset + at + wanted > size) {
          const last = ended
          size = (await file.stat()).size
          if (offset + at + wanted <= size) break
          if (last) return undefined
          await Promise.race([end, setTimeout(lookMs)])
        }
        const { bytesRead } = await file.read(piece, 0, wanted, offset + at)
        if (bytesRead === 0) return undefined
        hash.update(piece.subarray(0, bytesRead))
        at += bytesRead
      }
    return { sha256: hash.digest('hex'), bytes: places.reduce((sum, { bytes }) => sum + bytes, 0), places }
  } catch {
    return undefined
  } finally {
    await file.close()
  }
}

/** Whether the tensors of a file lie where they were followed. */
export const isOf = ({ tensors }: Gguf, { places }: FollowedDigest): boolean =>
  tensors.length === places.length &&
  tensors.every(({ offset, bytes }, i) => offset === places[i].offset && bytes === places[i].bytes)
