/**
 * Adam's moments in a file: two thirds of what training holds per weight in addition to the weight itself. Every step reads and
 * writes them once, in order, through one buffer. The file belongs to a process: a resumed run fills it from the checkpoint, which
 * holds a copy, so a kill in the middle of a step does no harm.
 *
 * File: f32, for each latent of each parameter its pieces, for each piece the first moments of its values and then the second.
 */

import { type FileHandle, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Moments } from '../backends/backend.js'
import { systemError } from '../files.js'
import { makeFolder } from '../folders.js'
import { createOwn } from '../own-files.js'
import {
  bytesOf,
  type MomentStore,
  type Piece,
  piecesOf,
  type Trainable,
  type Trained,
  trainedLatents,
} from './adam-state.js'

/** Most values of a piece. */
const pieceValues = 1 << 20

export class MomentFile implements MomentStore {
  /** Offsets of each latent's moments, in bytes. */
  private readonly offsets = new Map<Trainable, Map<string, number>>()
  private readonly buffer: Float32Array

  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    private readonly most: number,
  ) {
    this.buffer = new Float32Array(2 * most)
  }

  /**
   * Creates a file with zero moments for all trained latents of the parameters.
   * @param most values of a piece; at least those of a group of weights
   * @throws FileError, also if the disk is full
   */
  static async create(
    path: string,
    parameters: readonly Trainable[],
    most = pieceValues,
  ): Promise<MomentFile> {
    let file: MomentFile | undefined
    try {
      makeFolder(dirname(path))
      file = new MomentFile(path, await createOwn(path), most)
      let bytes = 0
      for (const trained of parameters.flatMap(trainedLatents)) {
        const { p, key } = trained
        const own = file.offsets.get(p) ?? new Map<string, number>()
        file.offsets.set(p, own.set(key, bytes))
        for (const piece of file.pieces(trained)) {
          // Zeros are written, so that the disk cannot become full in the middle of a step.
          await file.write(trained, piece, file.part(0, 2 * lengthOf(piece)))
          bytes += 8 * lengthOf(piece)
        }
      }
      return file
    } catch (error) {
      await file?.close().catch(() => {}) // the first error is more informative
      throw systemError(path, error)
    }
  }

  pieces({ p, key }: Trained): Piece[] {
    const { values, unit } = p.latents[key]
    return piecesOf(values.length, values.length / unit.length, this.most)
  }

  async get(of: Trained, which: keyof Moments, piece: Piece): Promise<Float32Array> {
    const values = this.part(0, lengthOf(piece))
    await this.read(of, piece, values, which === 'first' ? 0 : lengthOf(piece))
    return values
  }

  async set(of: Trained, which: keyof Moments, piece: Piece, values: Float32Array): Promise<void> {
    await this.write(of, piece, values, which === 'first' ? 0 : lengthOf(piece))
  }

  async update(of: Trained, work: (moments: Moments, piece: Piece) => void): Promise<void> {
    for (const piece of this.pieces(of)) {
      const length = lengthOf(piece)
      const both = this.part(0, 2 * length)
      await this.read(of, piece, both)
      const { backend } = of.p
      const held = backend.upload(both)
      work({ first: backend.view(held, 0, length), second: backend.view(held, length, 2 * length) }, piece)
      await this.write(of, piece, await backend.download(held))
    }
  }

  /** Closes and removes the file. */
  async close(): Promise<void> {
    try {
      await this.handle.close()
    } finally {
      await rm(this.path, { force: true })
    }
  }

  private part(start: number, end: number): Float32Array {
    return this.buffer.subarray(start, end)
  }

  /** Offset of a piece, in bytes. */
  private at({ p, key }: Trained, [start]: Piece): number {
    const offset = this.offsets.get(p)?.get(key)
    if (offset === undefined) throw new RangeError(`${p.name} has no moments of ${key}`)
    return offset + 8 * start
  }

  private async read(of: Trained, piece: Piece, values: Float32Array, skip = 0): Promise<void> {
    const bytes = bytesOf(values)
    try {
      for (let done = 0, at = this.at(of, piece) + 4 * skip; done < bytes.length; ) {
        const { bytesRead } = await this.handle.read(bytes, done, bytes.length - done, at + done)
        if (bytesRead === 0) throw new RangeError(`${this.path} ends too early`)
        done += bytesRead
      }
    } catch (error) {
      throw systemError(this.path, error)
    }
  }

  private async write(of: Trained, piece: Piece, values: Float32Array, skip = 0): Promise<void> {
    const bytes = bytesOf(values)
    try {
      for (let done = 0, at = this.at(of, piece) + 4 * skip; done < bytes.length; )
        done += (await this.handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten
    } catch (error) {
      throw systemError(this.path, error)
    }
  }
}

const lengthOf = ([start, end]: Piece): number => end - start
