/** Buffers as callers hold them: a range of a storage, which is released once nobody can reach a buffer of it any more. */
import type { DeviceBuffer } from '../backend.js'
import type { Device, DeviceTensor } from './device.js'
import { Storage } from './storage.js'

/** Keeps a storage alive: shared by a buffer and its views. */
class Owner {
  constructor(readonly storage: Storage) {}
}

const unreachable = new FinalizationRegistry<Storage>((storage) => storage.release())

export class Range {
  private constructor(
    private readonly owner: Owner,
    private readonly start: number,
    readonly length: number,
  ) {}

  /** A new buffer of zeros. */
  static make(device: Device, length: number): Range {
    const storage = new Storage(device, length)
    const owner = new Owner(storage)
    unreachable.register(owner, storage)
    return new Range(owner, 0, length)
  }

  view(start: number, end: number): Range {
    return new Range(this.owner, this.start + start, end - start)
  }

  /** The values, for the caller to release. */
  read(): Promise<DeviceTensor> {
    return this.owner.storage.read(this.start, this.start + this.length)
  }

  /** See `Storage.constantIn`. */
  get constant(): number | undefined {
    return this.owner.storage.constantIn(this.start, this.start + this.length)
  }

  /** Overwrites the values; the tensor then belongs to the buffer. */
  write(values: DeviceTensor): void {
    this.owner.storage.write(this.start, values)
  }

  fill(value: number): void {
    this.owner.storage.fill(this.start, this.start + this.length, value)
  }

  copy(from: Range): void {
    this.owner.storage.copy(this.start, from.owner.storage, from.start, from.start + from.length)
  }
}

export const rangeOf = (buffer: DeviceBuffer): Range => {
  if (!((buffer as unknown) instanceof Range)) throw new TypeError('a buffer of another backend')
  return buffer as unknown as Range
}
export const bufferOf = (range: Range): DeviceBuffer => range as unknown as DeviceBuffer
