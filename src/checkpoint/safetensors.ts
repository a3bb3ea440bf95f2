/**
 * Headers of safetensors files: eight bytes with the length of a JSON object (little-endian), that object, and the data. The object gives
 * each tensor a type, a shape (rows first) and two offsets within the data. As the format demands, the tensors fill the
 * data without gap or overlap, so a file that was cut off is found here.
 * Source: https://github.com/huggingface/safetensors
 */
import type { FileHandle } from 'node:fs/promises'
import { FileError } from '../errors.js'
import { systemError } from '../files.js'
import { quote } from '../gguf/index.js'
import type { RangeSource } from '../gguf/skim.js'
import { openInput } from '../input-file.js'
import { Fields } from './fields.js'
import { parseObject } from './json.js'

/** A tensor of a checkpoint. */
export interface StoredTensor {
  readonly name: string
  /** As the format names it: F32, BF16, F8_E4M3 ... */
  readonly dtype: string
  /** Rows first; empty for a single number. */
  readonly shape: readonly number[]
  readonly path: string
  /** In the file, in bytes. */
  readonly offset: number
  readonly bytes: number
}

/** Bytes of a number of each type. */
const dtypes: ReadonlyMap<string, number> = new Map([
  ...(['BOOL', 'U8', 'I8', 'F8_E4M3', 'F8_E5M2', 'F8_E8M0'] as const).map((name) => [name, 1] as const),
  ...(['U16', 'I16', 'F16', 'BF16'] as const).map((name) => [name, 2] as const),
  ...(['U32', 'I32', 'F32'] as const).map((name) => [name, 4] as const),
  ...(['U64', 'I64', 'F64'] as const).map((name) => [name, 8] as const),
])

/** The limit of the format's own library. */
const mostHeaderBytes = 100_000_000
const mostDimensions = 8
/** A request holds most headers whole. */
const readAhead = 2 ** 16

/** The tensors of a file, in the order of their names. @throws FileError for a file that is damaged or cut off */
export async function readSafetensors(path: string): Promise<StoredTensor[]> {
  const { handle, size } = await openInput(path)
  try {
    const read = (start: number, end: number) => readAt(path, handle, start, end - start)
    return await safetensorsHeader({ name: path, size, read })
  } catch (error) {
    throw systemError(path, error)
  } finally {
    await handle.close()
  }
}

/**
 * The same of a file that is read in ranges, of which its header alone is read.
 * @param most bytes that a header may take
 */
export async function safetensorsHeader(
  source: RangeSource,
  most = mostHeaderBytes,
): Promise<StoredTensor[]> {
  const { name: path, size } = source
  if (size < 8) throw new FileError(path, 'is too short for a safetensors file; download it again')
  const first = Buffer.from(await source.read(0, Math.min(size, readAhead)))
  const length = Number(first.readBigUInt64LE())
  if (length > mostHeaderBytes)
    throw new FileError(path, 'is no safetensors file, or damaged: its header would be longer than 100 MB')
  if (length > size - 8)
    throw new FileError(path, `is cut off: its header needs ${length} bytes; download the file again`)
  const end = 8 + length
  if (end > most)
    throw new FileError(
      path,
      `its header has ${length} bytes, and ${most} are read of a file; download it with \`quench pull\``,
    )
  const rest = end > first.length ? await source.read(first.length, end) : Buffer.alloc(0)
  const header = parseObject(path, Buffer.concat([first.subarray(8, end), rest]))
  const tensors = Object.keys(header)
    .filter((name) => name !== '__metadata__')
    .map((name) => tensorOf(path, header, name, end))
  checkLayout(path, tensors, end, size)
  return tensors.sort((a, b) => (a.name < b.name ? -1 : 1))
}

function tensorOf(path: string, header: Readonly<Record<string, unknown>>, name: string, start: number) {
  const entry = new Fields(path, header).object(name)
  const dtype = entry?.string('dtype') ?? ''
  const shape = entry?.numbers('shape')
  const offsets = entry?.numbers('data_offsets')
  const fail = (problem: string) => new FileError(path, `the tensor ${quote(name)} ${problem}`)
  const unit = dtypes.get(dtype)
  if (unit === undefined) throw fail(`has the unknown type ${quote(dtype)}`)
  const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
  if (!shape?.every(isSize) || shape.length > mostDimensions) throw fail('has no valid shape')
  if (offsets?.length !== 2 || !offsets.every(isSize)) throw fail('has no valid offsets')
  const [begin, end] = offsets
  const bytes = shape.reduce((product, each) => product * each, unit)
  if (end - begin !== bytes)
    throw fail(`should take ${bytes} bytes by its shape, but its offsets say ${end - begin}`)
  return { name, dtype, shape, path, offset: start + begin, bytes }
}

function checkLayout(path: string, tensors: readonly StoredTensor[], start: number, size: number): void {
  let at = start
  for (const { name, offset, bytes } of [...tensors].sort(
    (a, b) => a.offset - b.offset || a.bytes - b.bytes,
  )) {
    if (offset !== at)
      throw new FileError(
        path,
        `the tensor ${quote(name)} ${offset < at ? 'overlaps another' : 'begins after a gap'}; the file is damaged`,
      )
    at = offset + bytes
    if (at > size)
      throw new FileError(
        path,
        `is cut off: ${quote(name)} ends at byte ${at} of ${size}; download the file again`,
      )
  }
  if (at !== size)
    throw new FileError(path, `has ${size - at} bytes after its last tensor; the file is damaged`)
}

/** Bytes of a file. @throws FileError if it ends before */
export async function readAt(
  path: string,
  handle: FileHandle,
  offset: number,
  length: number,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done)
    if (bytesRead === 0) throw new FileError(path, 'was cut off while it was read')
    done += bytesRead
  }
  return bytes
}
