/**
 * Puts a record into a file that libllama has written. libllama takes texts of 127 bytes for its header and no lists, so it is given
 * texts that take the record's room, and the header is encoded once more with the record in their place.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { QuenchError } from '../errors.js'
import { Cursor } from '../gguf/cursor.js'
import { encodeHeader } from '../gguf/encode.js'
import { parseHeader } from '../gguf/header.js'
import { type Gguf, type GgufValue, Metadata, openGguf } from '../gguf/index.js'
import { type Summary, summarize } from '../gguf/summary.js'
import type { DataDigest } from '../gguf/writer.js'
import type { ProgressEvent } from '../notices.js'
import { systemError } from '../system-errors.js'
import { type FollowedDigest, isOf } from './growing-digest.js'
import type { Provenance } from './provenance.js'
import { provenanceKeys, stepsKey } from './record.js'

type Text = Extract<GgufValue, { type: 'string' }>

const reserved = 'quench.reserved.'
const mostText = 127
const pieceBytes = 2 ** 20
/** Of a key and its text: two lengths, the type, and the key. */
const overhead = 8 + 8 + 4 + reserved.length + 3

/** Texts that take the room of a record in the header of what is made from a file with this metadata. */
export function reservedEntries(provenance: Provenance, input: Metadata): Map<string, Text> {
  const own = provenanceKeys.flatMap((key) => {
    const value = input.get(key)
    return value ? [[key, value] as const] : []
  })
  let bytes = Math.max(2 * overhead, encodedBytes(provenance.placeholders) - encodedBytes(own))
  const entries = new Map<string, Text>()
  const count = Math.ceil(bytes / (overhead + mostText))
  bytes -= count * overhead
  for (let i = 0; i < count; i++) {
    const length = Math.min(bytes, mostText)
    bytes -= length
    entries.set(`${reserved}${String(i).padStart(3, '0')}`, { type: 'string', value: ' '.repeat(length) })
  }
  return entries
}

/** Bytes of keys and values in a header. */
const encodedBytes = (entries: Iterable<readonly [string, GgufValue]>): number =>
  encodeHeader(3, 1, new Metadata('', entries), []).length - encodeHeader(3, 1, new Metadata(''), []).length

/**
 * Puts the record in the place of `reservedEntries`.
 * @param path the first of the parts; nobody else reads it
 * @param followed the hash of its tensors as they were written, if it is known
 * @returns the summary of the file
 * @throws FileError for a source that cannot be read
 */
export async function seal(
  path: string,
  provenance: Provenance,
  onProgress?: (event: ProgressEvent) => void,
  followed?: FollowedDigest,
): Promise<Summary> {
  const gguf = await openGguf(path)
  try {
    const known = followed && isOf(gguf, followed)
    const data = known
      ? { sha256: followed.sha256, bytes: followed.bytes }
      : await dataDigest(gguf, onProgress)
    const entries = await provenance.entries(data, onProgress)
    const handle = await open(path, 'r+').catch((error: unknown) => {
      throw systemError(path, error)
    })
    try {
      await handle.write(await sealedHeader(gguf, handle, entries), 0, undefined, 0)
    } catch (error) {
      throw systemError(path, error)
    } finally {
      await handle.close()
    }
    return await summarize(gguf)
  } finally {
    await gguf.close()
  }
}

/** The header of a file, unpadded, with the record in the place that was reserved for it. */
async function sealedHeader(gguf: Gguf, handle: FileHandle, entries: ReadonlyMap<string, GgufValue>) {
  const { path, files } = gguf
  // What is open of a split model is all of it, without the keys of parts.
  const header =
    files.length === 1 ? gguf : parseHeader(new Cursor(path, handle.fd, (await handle.stat()).size), 0)
  const { version, tensors, dataOffset } = header
  const metadata = new Metadata(path, header.metadata)
  const placed = tensors.map(({ name, shape, type, offset }) => ({
    name,
    shape,
    type,
    offset: offset - dataOffset,
  }))
  const encoded = (): Buffer => encodeHeader(version, 1, metadata, placed)
  const before = encoded()
  const stored = Buffer.alloc(before.length)
  await handle.read(stored, 0, stored.length, 0)
  for (const [key] of [...metadata]) if (key.startsWith(reserved)) metadata.delete(key)
  for (const [key, value] of entries) metadata.set(key, value)
  const steps = metadata.get(stepsKey)
  const room = before.length - encoded().length
  if (steps?.type === 'array' && steps.itemType === 'string' && room >= 0)
    // JSON takes spaces, so that whatever room is left is used up.
    steps.value[steps.value.length - 1] += ' '.repeat(room)
  const after = encoded()
  if (!stored.equals(before) || after.length !== before.length)
    throw new QuenchError(`${path}: its header cannot be completed; this is a bug in quench`)
  return after
}

/** SHA-256 over the bytes of all tensors, in their order and without padding. @throws FileError */
export async function dataDigest(
  gguf: Gguf,
  onProgress?: (event: ProgressEvent) => void,
): Promise<DataDigest> {
  const hash = createHash('sha256')
  const total = gguf.tensors.reduce((sum, { bytes }) => sum + bytes, 0)
  let done = 0
  const buffer = new Uint8Array(pieceBytes)
  for (const tensor of gguf.tensors)
    for (let at = 0; at < tensor.bytes; at += pieceBytes) {
      const piece = buffer.subarray(0, Math.min(pieceBytes, tensor.bytes - at))
      await gguf.readInto(piece, tensor, at)
      hash.update(piece)
      done += piece.length
      onProgress?.({ stage: 'checksum', done, total })
    }
  return { sha256: hash.digest('hex'), bytes: total }
}
