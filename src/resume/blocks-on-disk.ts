/**
 * Finished blocks of a block-wise run, each in a file of its own in a folder next to the output, so that a resumed run need not
 * solve them again. With the whole student in memory a file holds the latents, from which training starts; otherwise it holds
 * the codes, packed as in the output. The folder also keeps what is computed before the first block: importances, Fisher
 * information, and the validation of the reference quantizer's files.
 */

import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { FileError } from '../errors.js'
import { reserveSpace } from '../files.js'
import { makeFolder } from '../folders.js'
import { unrounded } from '../formats/table.js'
import { createGguf, type Gguf, Metadata, openGguf } from '../gguf/index.js'
import { bytesOf } from '../optimizer/adam-state.js'
import type { Parameter } from '../optimizer/parameter.js'
import type { CodedTensor } from '../student/coded-tensor.js'
import { type ExportCheck, packedBytes } from '../student/export.js'
import { headerBytes, loadCheckpoint, saveCheckpoint, stateBytes, tensorHeaderBytes } from './checkpoint.js'
import { checkSettings, type Settings } from './settings.js'

export class BlocksOnDisk {
  private open: { name: string; gguf: Gguf } | undefined

  constructor(
    readonly folder: string,
    private readonly settings: Settings,
  ) {}

  private path(name: string): string {
    return join(this.folder, `${name}.gguf`)
  }

  /** Whether the folder exists. */
  get exists(): boolean {
    return existsSync(this.folder)
  }

  has(name: string): boolean {
    return existsSync(this.path(name))
  }

  /** Loads the latents of a finished block; false if it is missing. @throws UsageError for other settings */
  async loadLatents(name: string, parameters: readonly Parameter[]): Promise<boolean> {
    if (!this.has(name)) return false
    await loadCheckpoint(this.path(name), parameters, this.settings)
    for (const p of parameters) await p.round()
    return true
  }

  /** Loads the codes of a finished block; false if it is missing. @throws UsageError for other settings */
  async loadCodes(name: string, tensors: readonly CodedTensor[]): Promise<boolean> {
    if (!this.has(name)) return false
    const gguf = await this.part(name)
    for (const tensor of tensors)
      if (tensor.format) await tensor.take(tensor.format.decode(await gguf.read(gguf.tensor(tensor.name))))
    return true
  }

  /**
   * Arrays that an earlier run has saved under this name, or else computes and saves them.
   * @param lengthOf valid lengths by tensor; undefined for a tensor that has none
   * @param bytes upper bound of the arrays, reserved before they are computed
   * @throws UsageError for other settings, FileError for a damaged file or a full disk
   */
  async arrays(
    name: string,
    lengthOf: (tensor: string) => number | undefined,
    bytes: number,
    compute: () => Promise<ReadonlyMap<string, Float32Array>>,
  ): Promise<ReadonlyMap<string, Float32Array>> {
    if (this.has(name)) return this.loadArrays(name, lengthOf)
    await this.reserve(name, bytes + headerBytes)
    const arrays = await compute()
    const tensors = Array.from(arrays, ([name, { length }]) => ({
      name,
      shape: [length],
      type: unrounded.type,
    }))
    const writer = await createGguf(this.path(name), {
      metadata: this.metadata(name, 'quench-arrays'),
      tensors,
    })
    try {
      for (const [tensor, values] of arrays) await writer.write(tensor, bytesOf(values))
      await writer.finish()
    } catch (error) {
      await writer.abort()
      throw error
    }
    return arrays
  }

  private async loadArrays(
    name: string,
    lengthOf: (tensor: string) => number | undefined,
  ): Promise<Map<string, Float32Array>> {
    const gguf = await this.part(name)
    const arrays = new Map<string, Float32Array>()
    for (const tensor of gguf.tensors) {
      if (tensor.type !== unrounded.type || tensor.elements !== lengthOf(tensor.name))
        throw new FileError(
          gguf.path,
          `${tensor.name} does not fit the model; delete its folder to start anew`,
        )
      const values = new Float32Array(tensor.elements)
      bytesOf(values).set(await gguf.read(tensor))
      arrays.set(tensor.name, values)
    }
    return arrays
  }

  /** The same for a value that JSON can hold. */
  async value<T extends Readonly<Record<string, unknown>>>(
    name: string,
    compute: () => Promise<T>,
  ): Promise<T> {
    if (this.has(name)) return loadCheckpoint<T>(this.path(name), [], this.settings)
    const value = await compute()
    makeFolder(this.folder)
    await saveCheckpoint(this.path(name), [], { ...value }, this.settings)
    return value
  }

  private metadata(name: string, architecture: string): Metadata {
    return new Metadata(this.path(name), [
      ['general.architecture', { type: 'string', value: architecture }],
      ['quench.settings', { type: 'string', value: JSON.stringify(this.settings) }],
    ])
  }

  /** Reserves disk space for the latents of a block before it is solved. @throws FileError if the disk is full */
  reserveLatents(name: string, parameters: readonly Parameter[]): Promise<void> {
    return this.reserve(name, stateBytes(parameters))
  }

  /** The same for codes. */
  reserveCodes(name: string, tensors: readonly CodedTensor[]): Promise<void> {
    return this.reserve(name, packedSize(tensors))
  }

  private async reserve(name: string, bytes: number): Promise<void> {
    makeFolder(this.folder)
    await reserveSpace(this.path(name), bytes)
  }

  /** Saves the latents of a block into the reserved space. */
  saveLatents(name: string, parameters: readonly Parameter[]): Promise<void> {
    return saveCheckpoint(this.path(name), parameters, {}, this.settings)
  }

  /** Saves the tensors of a block, packed as in the output. */
  async saveCodes(name: string, tensors: readonly CodedTensor[], check: ExportCheck): Promise<void> {
    const metadata = this.metadata(name, 'quench-block')
    const stored = tensors.map(({ name, shape, format }) => ({
      name,
      shape: shape.toReversed(),
      type: (format ?? unrounded).type,
    }))
    const writer = await createGguf(this.path(name), { metadata, tensors: stored })
    try {
      for (const tensor of tensors) await writer.write(tensor.name, await packedBytes(tensor, check))
      await writer.finish()
    } catch (error) {
      await writer.abort()
      throw error
    }
  }

  /** The bytes of a tensor in a block saved by `saveCodes`; undefined if it is missing. */
  async bytes(name: string, tensor: string): Promise<Uint8Array | undefined> {
    if (!this.has(name)) return undefined
    const gguf = await this.part(name)
    return gguf.has(tensor) ? gguf.read(gguf.tensor(tensor)) : undefined
  }

  private async part(name: string): Promise<Gguf> {
    if (this.open?.name === name) return this.open.gguf
    await this.close()
    const path = this.path(name)
    const gguf = await openGguf(path)
    try {
      checkSettings(path, gguf.metadata.string('quench.settings'), this.settings, 'its folder')
    } catch (error) {
      await gguf.close()
      throw error
    }
    this.open = { name, gguf }
    return gguf
  }

  async close(): Promise<void> {
    await this.open?.gguf.close()
    this.open = undefined
  }

  /** Removes the folder. */
  async remove(): Promise<void> {
    await this.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Upper bound of the bytes of a file of packed tensors. */
function packedSize(tensors: readonly CodedTensor[]): number {
  const sizes = tensors.map(({ weights, format }) =>
    format ? (weights.length / format.blockSize) * format.blockBytes : 4 * weights.length,
  )
  return sizes.reduce((a, b) => a + b, headerBytes + tensorHeaderBytes * sizes.length)
}
