/**
 * What flows between blocks, for many batches: kept in memory, or in files of a folder where there is too much of it. A file
 * holds the residual stream and then what blocks read besides it, f32.
 */

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Activations } from '../engine/network.js'
import { systemError } from '../files.js'
import { makeFolder } from '../folders.js'

export interface HiddenStates {
  readonly count: number
  get(i: number): Activations
  set(i: number, activations: Activations): void
  /** Removes what is on disk. */
  dispose(): void
}

export class HiddenStatesInMemory implements HiddenStates {
  private readonly batchesOfActivations: Activations[] = []

  get count(): number {
    return this.batchesOfActivations.length
  }
  get(i: number): Activations {
    return this.batchesOfActivations[i]
  }
  set(i: number, activations: Activations): void {
    this.batchesOfActivations[i] = activations
  }
  dispose(): void {}
}

/** One file for each batch. They belong to a process and need not survive it. */
export class HiddenStatesOnDisk implements HiddenStates {
  private readonly names: string[][] = []
  /** Values of the stream and of each name. */
  private readonly sizes: number[][] = []

  constructor(
    private readonly folder: string,
    private readonly label: string,
  ) {
    try {
      makeFolder(folder)
      for (const name of readdirSync(folder))
        if (name.startsWith(`${label}-`)) rmSync(join(folder, name), { force: true }) // of a run that was killed
    } catch (error) {
      throw systemError(folder, error)
    }
  }

  get count(): number {
    return this.names.length
  }

  get(i: number): Activations {
    const path = this.path(i)
    try {
      const { buffer, byteOffset } = readFileSync(path)
      const sizes = this.sizes[i]
      let at = byteOffset
      const take = (length: number): Float32Array => {
        // A slice of its own: a file's buffer need not be aligned for f32.
        const values = new Float32Array(buffer.slice(at, at + 4 * length))
        at += 4 * length
        return values
      }
      const x = take(sizes[0])
      return { x, sideInputs: new Map(this.names[i].map((name, k) => [name, take(sizes[k + 1])])) }
    } catch (error) {
      throw systemError(path, error)
    }
  }

  set(i: number, { x, sideInputs }: Activations): void {
    const path = this.path(i)
    // A stream is written over the one before, so that it needs no more room than is taken from the start.
    const flag = this.names[i] ? 'r+' : 'wx'
    const arrays = [x, ...sideInputs.values()]
    this.names[i] = [...sideInputs.keys()]
    this.sizes[i] = arrays.map((values) => values.length)
    const bytes = arrays.map((a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength))
    try {
      writeFileSync(path, Buffer.concat(bytes), { flag })
    } catch (error) {
      throw systemError(path, error)
    }
  }

  private path(i: number): string {
    return join(this.folder, `${this.label}-${i}.stream`)
  }

  dispose(): void {
    for (const i of this.names.keys()) rmSync(this.path(i), { force: true })
  }
}
