/**
 * Writes importance matrices: the file that llama-quantize reads, byte for byte in the layout of llama-imatrix, and the sums of a
 * collection that is not done, in f64 so that going on from them gives the same file.
 * Source: IMatrixCollector::save_imatrix in tools/imatrix/imatrix.cpp of llama.cpp v0.5.0.
 */
import { FileError, UsageError } from '../errors.js'
import { unrounded } from '../formats/table.js'
import { createGguf, type GgufValue, Metadata, openGguf } from '../gguf/index.js'
import type { DataDigest } from '../gguf/writer.js'
import type { Provenance } from '../provenance/provenance.js'
import { countsEnding, imatrixKeys, sumsEnding } from '../quantize/imatrix/gguf-form.js'

/** Sums of squares of the inputs of every matrix, by tensor. */
export type Sums = Map<string, Float64Array>

/** What a matrix was collected from. */
export interface Collected {
  /** Names of texts. */
  readonly datasets: readonly string[]
  readonly windows: number
  /** Tokens of a window. */
  readonly length: number
}

const f32 = unrounded.type
/** ggml_type id of F64. */
const f64 = 28
const uint32 = (value: number): GgufValue => ({ type: 'uint32', value })

/** Writes `path` whole or not at all. */
export async function writeImatrix(
  path: string,
  sums: Sums,
  { datasets, windows, length }: Collected,
  provenance: Provenance,
): Promise<void> {
  const metadata = new Metadata(path, [
    ['general.type', { type: 'string', value: 'imatrix' }],
    [imatrixKeys.datasets, { type: 'array', itemType: 'string', value: [...datasets] }],
    [imatrixKeys.chunkCount, uint32(windows)],
    [imatrixKeys.chunkSize, uint32(length)],
    ...provenance.placeholders,
  ])
  const sorted = [...sums].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const tensors = sorted.flatMap(([name, { length }]) => [
    { name: name + sumsEnding, shape: [length], type: f32 },
    { name: name + countsEnding, shape: [1], type: f32 },
  ])
  const count = bytesOf(Float32Array.of(windows * length))
  const late = (data: DataDigest) => provenance.entries(data)
  const writer = await createGguf(path, { metadata, tensors, late })
  for (const [name, values] of sorted) {
    await writer.write(name + sumsEnding, bytesOf(Float32Array.from(values)))
    await writer.write(name + countsEnding, count)
  }
  await writer.finish()
}

const doneKey = 'quench.imatrix.windows'
const settingsKey = 'quench.imatrix.settings'

/** Saves what was collected of the first `windows` windows. @param settings what a run that goes on must have the same */
export async function saveSums(path: string, sums: Sums, windows: number, settings: string): Promise<void> {
  const metadata = new Metadata(path, [
    [settingsKey, { type: 'string', value: settings }],
    [doneKey, uint32(windows)],
  ])
  const tensors = Array.from(sums, ([name, { length }]) => ({ name, shape: [length], type: f64 }))
  const writer = await createGguf(path, { metadata, tensors })
  for (const [name, values] of sums) await writer.write(name, bytesOf(values))
  await writer.finish()
}

/** @throws UsageError for sums that were collected with other settings, FileError for a damaged file */
export async function readSums(path: string, settings: string): Promise<{ sums: Sums; windows: number }> {
  const gguf = await openGguf(path)
  try {
    if (gguf.metadata.string(settingsKey) !== settings)
      throw new UsageError(
        `${path} is of a run with another model, text or options; repeat its command, or leave out --resume to begin anew`,
      )
    const sums: Sums = new Map()
    for (const tensor of gguf.tensors) {
      if (tensor.type !== f64) throw new FileError(path, 'it is damaged; leave out --resume to begin anew')
      sums.set(tensor.name, new Float64Array((await gguf.read(tensor)).buffer))
    }
    return { sums, windows: gguf.metadata.number(doneKey) }
  } finally {
    await gguf.close()
  }
}

const bytesOf = (values: Float32Array | Float64Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
