/**
 * GGUF files byte by byte, written without quench's own writer, so that every field can be wrong.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

export const str = (text: string | Buffer): Buffer => {
  const bytes = Buffer.from(text)
  return Buffer.concat([u64(bytes.length), bytes])
}

export const keyU32 = (key: string, value: number): Buffer => Buffer.concat([str(key), u32(4), u32(value)])

export const tensor = (
  name: string,
  shape: (number | bigint)[],
  type: number,
  offset: number | bigint,
): Buffer => Buffer.concat([str(name), u32(shape.length), ...shape.map(u64), u32(type), u64(offset)])

interface Parts {
  magic?: string
  version?: number
  tensorCount?: number | bigint
  keyCount?: number | bigint
  keys?: Buffer[]
  tensors?: Buffer[]
  data?: number
}

/** A file; what is not given is right. `data` is the length of the data section in bytes. */
export function gguf(parts: Parts): Buffer {
  const { magic = 'GGUF', version = 3, keys = [], tensors = [], data = 0 } = parts
  const counts = [u64(parts.tensorCount ?? tensors.length), u64(parts.keyCount ?? keys.length)]
  const header = Buffer.concat([Buffer.from(magic), u32(version), ...counts, ...keys, ...tensors])
  const padding = Buffer.alloc((32 - (header.length % 32)) % 32)
  return data > 0 ? Buffer.concat([header, padding, Buffer.alloc(data)]) : header
}

/** A folder that is removed after the tests of a file. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'quench-gguf-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

let written = 0
/** Writes bytes to a new file of the folder and gives its path. */
export function writeBytes(folder: string, bytes: Uint8Array): string {
  const path = join(folder, `file-${written++}.gguf`)
  writeFileSync(path, bytes)
  return path
}
