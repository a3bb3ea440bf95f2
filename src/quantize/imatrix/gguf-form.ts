/**
 * The GGUF form of an importance matrix: `<name>.in_sum2` holds the sum of squares of each input column, and `<name>.counts` the number
 * of rows in these sums: a single count, or one per expert. The mean is their quotient in f32; for an expert that no token reached it is 1.
 * Source: common/imatrix-loader.cpp and tools/quantize/quantize.cpp of llama.cpp v0.5.0.
 */
import { FileError } from '../../errors.js'
import { type Gguf, ggmlTypes, openGguf, quote, type TensorInfo } from '../../gguf/index.js'
import type { ImatrixEntry, ImatrixFile } from './imatrix.js'

export const sumsEnding = '.in_sum2'
export const countsEnding = '.counts'
export const imatrixKeys = {
  datasets: 'imatrix.datasets',
  chunkCount: 'imatrix.chunk_count',
  chunkSize: 'imatrix.chunk_size',
} as const

/** @throws FileError for a file that is not an importance matrix, or whose tensors do not belong together */
export async function openGgufImatrix(path: string): Promise<ImatrixFile> {
  const gguf = await openGguf(path)
  try {
    const { metadata } = gguf
    const sums = gguf.tensors.filter(({ name }) => name.endsWith(sumsEnding))
    if (sums.length === 0)
      throw new FileError(path, 'it is not an importance matrix: it has no tensors that end in .in_sum2')
    const missing = Object.values(imatrixKeys).find((key) => !metadata.has(key))
    if (missing !== undefined)
      throw new FileError(path, `the metadata key ${quote(missing)} is missing; compute the matrix again`)
    const entries = new Map(sums.map((tensor) => entryOf(gguf, tensor)))
    const [extra] = gguf.tensors.filter(
      ({ name }) =>
        name.endsWith(countsEnding) && !gguf.has(name.slice(0, -countsEnding.length) + sumsEnding),
    )
    if (extra) throw new FileError(path, `it has ${quote(extra.name)} without the sums that it counts`)
    return {
      path,
      entries,
      datasets: metadata.strings(imatrixKeys.datasets),
      chunks: metadata.number(imatrixKeys.chunkCount),
      close: () => gguf.close(),
    }
  } catch (error) {
    await gguf.close()
    throw error
  }
}

function entryOf(gguf: Gguf, sums: TensorInfo): [string, ImatrixEntry] {
  const name = sums.name.slice(0, -sumsEnding.length)
  const wrong = (problem: string) =>
    new FileError(gguf.path, `the entry ${quote(name)} ${problem}; compute the matrix again`)
  if (!gguf.has(name + countsEnding)) throw wrong('has sums but no counts')
  const counts = gguf.tensor(name + countsEnding)
  for (const { name, type } of [sums, counts])
    if (type !== 0) throw wrong(`has ${quote(name)} as ${ggmlTypes.get(type)?.name} where F32 should be`)
  if (sums.elements % counts.elements !== 0)
    throw wrong(`has ${counts.elements} counts for ${sums.elements} sums`)
  return [name, { length: sums.elements, read: () => readMeans(gguf, sums, counts) }]
}

async function readMeans(
  gguf: Gguf,
  sums: TensorInfo,
  counts: TensorInfo,
): Promise<Float32Array<ArrayBuffer>> {
  const values = new Float32Array((await gguf.read(sums)).buffer)
  const rows = new Float32Array((await gguf.read(counts)).buffer)
  const length = values.length / rows.length
  for (const [expert, stored] of rows.entries()) {
    const count = Math.fround(Math.round(stored))
    const own = values.subarray(expert * length, (expert + 1) * length)
    for (let i = 0; i < length; i++) own[i] = count > 0 ? own[i] / count : 1
  }
  return values
}
