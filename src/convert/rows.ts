/**
 * Tensors on their way into a GGUF file, a run of rows at a time, so that a matrix of any size takes the memory of some of its rows.
 * A vector is a matrix with one column.
 */
import type { Checkpoint, Fields, StoredTensor } from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import { floatToHalf, halfToFloat } from '../formats/half.js'
import { type Format, formatNamed } from '../formats/index.js'
import { quote } from '../gguf/index.js'

/** Bytes of f32 values that are worked on at once. */
const chunkBytes = 16 << 20

export interface Rows {
  /** Rows first. */
  readonly shape: readonly number[]
  /** The type whose bytes `bytes` gives; absent where values are computed. */
  readonly stored?: string
  /** Runs begin and end at multiples of this many rows. */
  readonly unit: number
  bytes?(first: number, count: number): Promise<Uint8Array>
  floats(first: number, count: number): Promise<Float32Array>
}

export const columnsOf = (shape: readonly number[]): number =>
  shape.slice(1).reduce((product, size) => product * size, 1)

/** A tensor of a checkpoint as it is stored. @throws FileError unless it is F32, F16 or BF16 */
export function storedRows(checkpoint: Checkpoint, tensor: StoredTensor): Rows {
  const format = formatNamed(tensor.dtype)
  if (format?.blockSize !== 1)
    throw new FileError(
      tensor.path,
      `the tensor ${quote(tensor.name)} has the type ${tensor.dtype}, which cannot be converted`,
    )
  const shape = tensor.shape.length === 0 ? [1] : tensor.shape
  const rowBytes = columnsOf(shape) * format.blockBytes
  const bytes = (first: number, count: number) => checkpoint.read(tensor, first * rowBytes, count * rowBytes)
  return {
    shape,
    stored: format.name,
    unit: 1,
    bytes,
    floats: async (first, count) => format.dequantize(format.decode(await bytes(first, count))),
  }
}

/** Values that are no tensor of the checkpoint. */
export const vector = (values: Float32Array): Rows => ({
  shape: [values.length],
  unit: 1,
  floats: async (first, count) => values.slice(first, first + count),
})

/** ggml's id of IEEE halves. */
const half = 1

/** The same values plus a number. Halves stay halves, as in PyTorch and so in llama.cpp's converter. */
export function plus(rows: Rows, shift: number): Rows {
  const isHalf = rows.stored !== undefined && formatNamed(rows.stored)?.type === half
  return computed(rows, (values) => {
    for (let i = 0; i < values.length; i++) {
      const sum = values[i] + shift
      values[i] = isHalf ? halfToFloat(floatToHalf(sum)) : sum
    }
  })
}

/** Values computed in place. @param change gets the values of a run and its first row */
export const computed = (
  rows: Rows,
  change: (values: Float32Array, first: number) => void | Promise<void>,
): Rows => ({
  shape: rows.shape,
  unit: rows.unit,
  floats: async (first, count) => {
    const values = await rows.floats(first, count)
    await change(values, first)
    return values
  },
})

/** The first rows alone. */
export const cut = (rows: Rows, count: number): Rows =>
  count >= rows.shape[0] ? rows : { ...rows, shape: [count, ...rows.shape.slice(1)] }

/**
 * The rows of queries or keys with the two halves of each head interleaved: llama.cpp rotates neighbours where Transformers rotates
 * row i and row i + half. Row 2i + k of a head was row k * half + i.
 * @throws FileError about the configuration for rows that are no heads
 */
export function interleaved(rows: Rows, heads: number, { path }: Fields): Rows {
  const unit = rows.shape[0] / heads
  if (unit % 2 !== 0)
    throw new FileError(path, `has ${heads} heads, which the ${rows.shape[0]} rows of a matrix are not for`)
  const order = <T extends Uint8Array | Float32Array>(from: T, to: T, count: number): T => {
    const width = from.length / count
    for (let row = 0; row < count; row++) {
      const [head, within] = [Math.floor(row / unit) * unit, row % unit]
      const source = head + (within % 2) * (unit / 2) + (within >> 1)
      to.set(from.subarray(source * width, (source + 1) * width), row * width)
    }
    return to
  }
  const { bytes } = rows
  return {
    ...rows,
    unit,
    ...(bytes && {
      bytes: async (first: number, count: number) => {
        const from = await bytes(first, count)
        return order(from, new Uint8Array(from.length), count)
      },
    }),
    floats: async (first, count) => {
      const from = await rows.floats(first, count)
      return order(from, new Float32Array(from.length), count)
    },
  }
}

/** The bytes of a tensor in a type, in runs of rows. The next run is read while the caller writes the last. */
export async function* encoded(
  rows: Rows,
  format: Format,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const { bytes, stored, unit, shape } = rows
  const columns = columnsOf(shape)
  const step = unit * Math.max(1, Math.floor(chunkBytes / (4 * columns * unit)))
  const read = async (first: number): Promise<Uint8Array> => {
    const count = Math.min(step, shape[0] - first)
    if (bytes && stored === format.name) return bytes(first, count)
    return format.encode({ w: await rows.floats(first, count) })
  }
  let next = read(0)
  for (let first = 0; first < shape[0]; first += step) {
    signal?.throwIfAborted()
    const now = await next
    if (first + step < shape[0]) {
      next = read(first + step)
      next.catch(() => {}) // told when it is awaited, if the caller gets that far
    }
    yield now
  }
}
