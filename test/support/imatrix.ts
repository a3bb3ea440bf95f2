/** Importance matrices for tests, written byte by byte as llama-imatrix does. */
import { writeFile } from 'node:fs/promises'
import { createGguf, Metadata } from '../../src/gguf/index.js'

export interface TestEntry {
  readonly name: string
  /** Mean squares. */
  readonly values: Float32Array
}

const rows = 1024

/** The GGUF form; sums are of 1,024 rows, so that dividing by them is exact. */
export async function writeGgufImatrix(
  path: string,
  entries: readonly TestEntry[],
  { datasets = ['text.txt'], chunks = 2 } = {},
): Promise<void> {
  const metadata = new Metadata(path, [
    ['general.type', { type: 'string', value: 'imatrix' }],
    ['imatrix.datasets', { type: 'array', itemType: 'string', value: datasets }],
    ['imatrix.chunk_count', { type: 'uint32', value: chunks }],
    ['imatrix.chunk_size', { type: 'uint32', value: 512 }],
  ])
  const tensors = entries.flatMap(({ name, values }) => [
    { name: `${name}.in_sum2`, shape: [values.length], type: 0 },
    { name: `${name}.counts`, shape: [1], type: 0 },
  ])
  const writer = await createGguf(path, { metadata, tensors })
  for (const { name, values } of entries) {
    await writer.write(`${name}.in_sum2`, bytesOf(values.map((value) => rows * value)))
    await writer.write(`${name}.counts`, bytesOf(Float32Array.of(rows)))
  }
  await writer.finish()
}

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  return bytes
}

export const text = (value: string): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([int32(bytes.length), bytes])
}

/** An entry of the older form, as the sum of `calls` means. */
export const legacyEntry = ({ name, values }: TestEntry, calls = 2): Buffer =>
  Buffer.concat([
    text(name),
    int32(calls),
    int32(values.length),
    bytesOf(values.map((value) => calls * value)),
  ])

/** The older form. */
export const writeLegacyImatrix = (path: string, entries: readonly TestEntry[]): Promise<void> =>
  writeFile(
    path,
    Buffer.concat([
      int32(entries.length),
      ...entries.map((entry) => legacyEntry(entry)),
      int32(2),
      text('text.txt'),
    ]),
  )
