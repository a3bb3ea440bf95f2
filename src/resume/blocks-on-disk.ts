/**
 * Finished blocks of a block-wise run, each in a file of its own in a folder beside the output, so that a run that was killed
 * need not solve them again. With the whole student in memory a file holds the latents, which training goes on from;
 * otherwise it holds the tensors as they go to the output.
 */

import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { FileError } from '../errors.js'
import { reserveSpace } from '../files.js'
import { makeFolder } from '../folders.js'
import { createGguf, type Gguf, Metadata, openGguf } from '../gguf/index.js'
import type { Optimizer, Parameter } from '../optimizer/parameter.js'
import { type ExportCheck, trainedBytes } from '../student/export.js'
import {
  headerBytes,
  loadCheckpoint,
  type Settings,
  saveCheckpoint,
  stateBytes,
  tensorHeaderBytes,
} from './checkpoint.js'

export class BlocksOnDisk {
  private open: { name: string; gguf: Gguf } | undefined

  constructor(
    readonly folder: string,
    private readonly settings: Settings,
    private readonly what: 'latents' | 'tensors',
  ) {}

  private path(name: string): string {
    return join(this.folder, `${name}.gguf`)
  }

  /** Whether a run left something here. */
  get exists(): boolean {
    return existsSync(this.folder)
  }

  has(name: string): boolean {
    return existsSync(this.path(name))
  }

  /** Reads a finished block into its parameters; false if it is not there. @throws UsageError for other settings */
  async load(name: string, parameters: readonly Parameter[], optimizer: Optimizer): Promise<boolean> {
    if (!this.has(name)) return false
    if (this.what === 'latents') {
      await loadCheckpoint(this.path(name), parameters, this.settings)
      for (const p of parameters) await optimizer.round(p)
      return true
    }
    const gguf = await this.part(name)
    for (const p of parameters) {
      const bytes = await gguf.read(gguf.tensor(p.name))
      if (p.format) p.backend.write(p.weights, p.format.dequantize(p.format.decode(bytes)))
    }
    return true
  }

  /** Takes room for a block before it is solved for. @throws FileError where the disk is full */
  async reserve(name: string, parameters: readonly Parameter[]): Promise<void> {
    makeFolder(this.folder)
    await reserveSpace(
      this.path(name),
      this.what === 'latents' ? stateBytes(parameters) : tensorBytes(parameters),
    )
  }

  /** Saves a block for which `reserve` has been called. */
  async save(
    name: string,
    parameters: readonly Parameter[],
    optimizer: Optimizer,
    check: ExportCheck,
  ): Promise<void> {
    const path = this.path(name)
    if (this.what === 'latents') return saveCheckpoint(path, parameters, {}, this.settings)
    const metadata = new Metadata(path, [
      ['general.architecture', { type: 'string', value: 'quench-block' }],
      ['quench.settings', { type: 'string', value: JSON.stringify(this.settings) }],
    ])
    const tensors = parameters.map(({ name, shape, format }) => ({
      name,
      shape: shape.toReversed(),
      type: format?.type ?? 0,
    }))
    const writer = await createGguf(path, { metadata, tensors })
    try {
      for (const p of parameters) await writer.write(p.name, await trainedBytes(p, optimizer, check))
      await writer.finish()
    } catch (error) {
      await writer.abort()
      throw error
    }
  }

  /** The bytes of a tensor of a block that was saved as tensors; undefined if it is in none. */
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
    this.open = { name, gguf }
    if (gguf.metadata.string('quench.settings') !== JSON.stringify(this.settings))
      throw new FileError(
        path,
        'is of a run with other settings; resume with the same, or delete the folder to start anew',
      )
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

/** At least the bytes of a file of tensors as they go to the output. */
function tensorBytes(parameters: readonly Parameter[]): number {
  const sizes = parameters.map(({ weights, format }) =>
    format ? (weights.length / format.blockSize) * format.blockBytes : 4 * weights.length,
  )
  return sizes.reduce((a, b) => a + b, headerBytes + tensorHeaderBytes * sizes.length)
}
