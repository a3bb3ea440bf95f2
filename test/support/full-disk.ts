/**
 * A disk that can be full: from the moment that `becomesFull` says so, until `makeRoom`, no file gets longer. What is written over is not
 * longer; what is written first is cut short, as Linux does. Stands between this process and its real disk.
 */
import fs from 'node:fs'
import fsp, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

/** Asked before every write that makes a file longer. */
export type BecomesFull = (path: string, count: number) => boolean

interface Opened {
  readonly path: string
  position: number
  size: number
}

export class FullDisk {
  /** Writes that have made a file longer. */
  count = 0
  private full = false
  private becomesFull: BecomesFull = () => false
  private readonly restore: () => void

  constructor() {
    const real = { open: fsp.open, writeFileSync: fs.writeFileSync }
    const opened = new WeakMap<FileHandle, Opened>()
    fsp.open = async (path, flags, mode) => {
      const handle = await real.open(path, flags, mode)
      const { size } = await handle.stat()
      opened.set(handle, { path: String(path), position: 0, size })
      const { write, writeFile } = handle
      handle.write = (async (bytes: Uint8Array, at = 0, length = bytes.length - at, position?: number) => {
        const file = opened.get(handle) as Opened
        const next = file.position
        if (position !== undefined) file.position = position
        const fits = this.fits(file, length)
        if (position !== undefined) file.position = next
        type Write = (bytes: Uint8Array, at: number, length: number, position?: number) => Promise<unknown>
        return (write as Write).call(handle, bytes, at, fits, position)
      }) as typeof handle.write
      handle.writeFile = async (data) => {
        const bytes = Buffer.from(data as Uint8Array)
        this.fits(opened.get(handle) as Opened, bytes.length, false)
        await writeFile.call(handle, bytes)
      }
      return handle
    }
    fs.writeFileSync = (path, data, options) => {
      const kept = typeof options === 'object' && options?.flag === 'r+'
      const size = kept ? fs.statSync(path as string).size : 0
      this.fits({ path: String(path), position: 0, size }, (data as Uint8Array).length, false)
      real.writeFileSync(path, data, options)
    }
    syncBuiltinESMExports()
    this.restore = () => {
      fsp.open = real.open
      fs.writeFileSync = real.writeFileSync
      syncBuiltinESMExports()
    }
  }

  fillsWhen(becomesFull: BecomesFull): void {
    this.makeRoom()
    this.becomesFull = becomesFull
  }

  makeRoom(): void {
    this.count = 0
    this.full = false
    this.becomesFull = () => false
  }

  /** The real disk again. */
  dispose(): void {
    this.restore()
  }

  /** How much of a write finds room: all, or without any room what lies within the file. */
  private fits(file: Opened, length: number, partly = true): number {
    const longer = file.position + length - file.size
    if (longer > 0) this.full ||= this.becomesFull(file.path, ++this.count)
    const fits = this.full && longer > 0 ? length - longer : length
    if (fits === 0 || (fits < length && !partly))
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    file.position += fits
    file.size = Math.max(file.size, file.position)
    return fits
  }
}
