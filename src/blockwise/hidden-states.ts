/**
 * Hidden states between blocks, for many batches: in memory or, if they do not fit, in f32 files in a folder.
 */

import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Backend, DeviceBuffer } from '../backends/backend.js'
import type { Activations } from '../engine/network.js'
import { systemError } from '../files.js'
import { makeFolder } from '../folders.js'

export interface HiddenStates {
  readonly count: number
  get(i: number): Activations
  set(i: number, activations: Activations): Promise<void>
  /** Drops all batches but the first `count`. */
  keep(count: number): void
  /** Removes the files. */
  dispose(): void
}

export class HiddenStatesInMemory implements HiddenStates {
  private readonly batches: Activations[] = []

  get count(): number {
    return this.batches.length
  }
  get(i: number): Activations {
    return this.batches[i]
  }
  async set(i: number, activations: Activations): Promise<void> {
    this.batches[i] = activations
  }
  keep(count: number): void {
    this.batches.length = Math.min(this.batches.length, count)
  }
  dispose(): void {}
}

/**
 * One file for each batch, and one for each of its side inputs, which is written once, since no block changes another's outputs. A side
 * input is read on demand. The files belong to a process and need not survive it.
 */
export class HiddenStatesOnDisk implements HiddenStates {
  /** Names of the written side inputs of each batch. */
  private readonly written: Set<string>[] = []

  constructor(
    private readonly backend: Backend,
    private readonly folder: string,
    private readonly label: string,
  ) {
    try {
      makeFolder(folder)
      for (const name of readdirSync(folder))
        if (name.startsWith(`${label}-`)) rmSync(join(folder, name), { force: true }) // left by a killed run
    } catch (error) {
      throw systemError(folder, error)
    }
  }

  get count(): number {
    return this.written.length
  }

  get(i: number): Activations {
    const names = [...this.written[i]]
    const side = (name: string) => this.backend.upload(read(this.sidePath(i, names.indexOf(name))))
    return { x: this.backend.upload(read(this.path(i))), sideInputs: new ReadWhenAsked(names, side) }
  }

  async set(i: number, { x, sideInputs }: Activations): Promise<void> {
    this.written[i] ??= new Set()
    const known = this.written[i]
    // Overwrites the previous states, so that no more disk space is needed later.
    write(this.path(i), await this.backend.download(x))
    for (const name of sideInputs.keys())
      if (!known.has(name)) {
        const values = await this.backend.download(sideInputs.get(name) as DeviceBuffer)
        write(this.sidePath(i, known.size), values)
        known.add(name)
      }
  }

  private path(i: number): string {
    return join(this.folder, `${this.label}-${i}.stream`)
  }

  private sidePath(i: number, number: number): string {
    return join(this.folder, `${this.label}-${i}-${number}.side`)
  }

  keep(count: number): void {
    for (let i = count; i < this.written.length; i++) {
      rmSync(this.path(i), { force: true })
      for (let number = 0; number < this.written[i].size; number++)
        rmSync(this.sidePath(i, number), { force: true })
    }
    this.written.length = Math.min(this.written.length, count)
  }

  dispose(): void {
    this.keep(0)
  }
}

/** Arrays by name, some of which are read on demand. */
class ReadWhenAsked extends Map<string, DeviceBuffer> {
  private readonly unread: Set<string>

  constructor(
    names: Iterable<string>,
    private readonly read: (name: string) => DeviceBuffer,
  ) {
    super()
    this.unread = new Set(names)
  }

  override get(name: string): DeviceBuffer | undefined {
    if (this.unread.has(name)) this.set(name, this.read(name))
    return super.get(name)
  }

  override set(name: string, values: DeviceBuffer): this {
    this.unread.delete(name)
    return super.set(name, values)
  }
}

function read(path: string): Float32Array {
  try {
    const { buffer, byteOffset, byteLength } = readFileSync(path)
    // Copied, since a file's buffer need not be aligned for f32.
    return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength))
  } catch (error) {
    throw systemError(path, error)
  }
}

function write(path: string, values: Float32Array): void {
  try {
    writeFileSync(path, new Uint8Array(values.buffer, values.byteOffset, values.byteLength), {
      flag: existsSync(path) ? 'r+' : 'wx',
    })
  } catch (error) {
    throw systemError(path, error)
  }
}
