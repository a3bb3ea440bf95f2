/**
 * The teacher's top-k tokens at every position of the training text, computed once and cached in a file. For repeated windows the
 * teacher does not run again, above all not its head, whose product with a large vocabulary is a third of the head's work. A token
 * takes 8 bytes per rank, whatever the width of the model.
 *
 * All windows are computed before the first step, in the order of the text, so that every epoch and a resumed run train from the
 * same numbers. Everything in the file is checked before it is used.
 *
 * File: SHA-256 of teacher, text and k (32 bytes); then for each window a CRC-32 and its ids (i32), log-probabilities (f32) and
 * rests (f32), see `TopK`. A window that has not been written yet is zeros, whose CRC is not zero.
 */

import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import type { DeviceWeights } from '../backends/backend.js'
import type { TopK } from '../engine/head.js'
import type { Network } from '../engine/network.js'
import { FileError } from '../errors.js'
import { systemError } from '../files.js'
import { makeFolder } from '../folders.js'
import { createOwn, openOwn } from '../own-files.js'

const headerBytes = 32
const checkBytes = 4

/** Bytes of a window in the file. */
const slotBytes = (length: number, k: number): number => checkBytes + length * (8 * k + 4)

/** Bytes of the file for a number of windows. */
export const topKBytes = (windows: number, length: number, k: number): number =>
  headerBytes + windows * slotBytes(length, k)

export interface TopKOptions {
  /** Identifies the teacher: another teacher's file is not used. */
  readonly teacher: string
  /** The text, windows of one length. */
  readonly windows: readonly Int32Array[]
  readonly k: number
}

export class TopKCache {
  private readonly slots = new Map<string, number>()
  private readonly length: number

  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    private readonly windows: readonly Int32Array[],
    readonly k: number,
  ) {
    this.length = windows[0].length
    for (const [i, window] of windows.entries()) this.slots.set(keyOf(window), i)
  }

  /** Opens the file, and starts it afresh if it is not of this teacher, text and k. @throws FileError */
  static async open(path: string, { teacher, windows, k }: TopKOptions): Promise<TopKCache> {
    const hash = createHash('sha256').update(JSON.stringify([teacher, k, windows.length, windows[0].length]))
    for (const { buffer, byteOffset, byteLength } of windows)
      hash.update(new Uint8Array(buffer, byteOffset, byteLength))
    const digest = hash.digest()
    let handle: FileHandle | undefined
    try {
      makeFolder(dirname(path))
      handle = (await openOwn(path)) ?? (await createOwn(path))
      const known = Buffer.alloc(headerBytes)
      await handle.read(known, 0, headerBytes, 0)
      if (!known.equals(digest)) {
        await handle.truncate()
        await handle.write(digest, 0, headerBytes, 0)
      }
      return new TopKCache(path, handle, windows, k)
    } catch (error) {
      await handle?.close()
      throw systemError(path, error)
    }
  }

  /** Computes the missing windows. `onProgress` is called with the tokens done, and may throw to stop. */
  async fill(
    network: Network,
    weights: DeviceWeights,
    onProgress: (done: number, total: number) => void,
  ): Promise<void> {
    const { windows, length, k } = this
    const size = network.batch.windows
    for (let first = 0; first < windows.length; first += size) {
      onProgress(first * length, windows.length * length)
      // The last batch is filled up with windows from the start.
      const slots = Array.from({ length: size }, (_, i) => (first + i) % windows.length)
      const own = slots.slice(0, Math.min(size, windows.length - first))
      const known = await Promise.all(own.map((slot) => this.read(slot)))
      if (!known.includes(undefined)) continue
      const tokens = new Int32Array(size * length)
      for (const [i, slot] of slots.entries()) tokens.set(windows[slot], i * length)
      await network.forward(tokens, weights)
      const top = await network.head.top(weights, k)
      for (const [i, slot] of own.entries()) await this.write(slot, top, i)
    }
    onProgress(windows.length * length, windows.length * length)
  }

  /** The top-k tokens of some windows of the text, one after another. @throws FileError if they are not as they were written */
  async get(windows: readonly Int32Array[]): Promise<TopK> {
    const { k, length } = this
    const size = windows.length * length
    const top = {
      ids: new Int32Array(size * k),
      logProbabilities: new Float32Array(size * k),
      rest: new Float32Array(size),
    }
    for (const [i, window] of windows.entries()) {
      const slot = this.slots.get(keyOf(window))
      const own = slot === undefined ? undefined : await this.read(slot)
      if (!own)
        throw new FileError(this.path, 'was changed while it was in use; run the same command with --resume')
      top.ids.set(own.ids, i * length * k)
      top.logProbabilities.set(own.logProbabilities, i * length * k)
      top.rest.set(own.rest, i * length)
    }
    return top
  }

  async close(): Promise<void> {
    await this.handle.close()
  }

  /** Reads a window; undefined if it was not written completely. */
  private async read(slot: number): Promise<TopK | undefined> {
    const { length, k } = this
    const bytes = new Uint8Array(slotBytes(length, k))
    try {
      const { bytesRead } = await this.handle.read(bytes, 0, bytes.length, this.at(slot))
      if (bytesRead < bytes.length) return undefined
    } catch (error) {
      throw systemError(this.path, error)
    }
    const { buffer } = bytes
    if (crc32(bytes.subarray(checkBytes)) !== new DataView(buffer).getUint32(0, true)) return undefined
    const [ids, rest] = [checkBytes, checkBytes + 8 * length * k]
    return {
      ids: new Int32Array(buffer, ids, length * k),
      logProbabilities: new Float32Array(buffer, ids + 4 * length * k, length * k),
      rest: new Float32Array(buffer, rest, length),
    }
  }

  /** Writes window `i` of a batch. */
  private async write(slot: number, { ids, logProbabilities, rest }: TopK, i: number): Promise<void> {
    const { length, k } = this
    const part = (values: Int32Array | Float32Array, each: number): Uint8Array =>
      new Uint8Array(values.buffer, values.byteOffset + 4 * i * length * each, 4 * length * each)
    const data = Buffer.concat([
      Buffer.alloc(checkBytes),
      part(ids, k),
      part(logProbabilities, k),
      part(rest, 1),
    ])
    data.writeUInt32LE(crc32(data.subarray(checkBytes)))
    try {
      for (let done = 0; done < data.length; )
        done += (await this.handle.write(data, done, data.length - done, this.at(slot) + done)).bytesWritten
    } catch (error) {
      throw systemError(this.path, error)
    }
  }

  private at(slot: number): number {
    return headerBytes + slot * slotBytes(this.length, this.k)
  }
}

const keyOf = ({ buffer, byteOffset, byteLength }: Int32Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('latin1')
