/**
 * Files of importance matrices: for every matrix of a model the mean square of each of its inputs, as `llama-imatrix` and
 * `quench imatrix` write them, in the GGUF form or the older binary one (`.dat`). Opening a file reads names and sizes only; values are
 * read later, for tensors of the model alone, and bounded by the number of its inputs.
 */
import { FileError } from '../../errors.js'
import { quote } from '../../gguf/index.js'
import { openInput } from '../../input-file.js'
import { openGgufImatrix } from './gguf-form.js'
import type { Imatrix, ImatrixFile } from './imatrix.js'
import { openLegacyImatrix } from './legacy-form.js'

/** @throws FileError for a file of another kind or a damaged one */
export async function openImatrix(path: string): Promise<ImatrixFile> {
  const { handle, size } = await openInput(path)
  const magic = Buffer.alloc(4)
  try {
    await handle.read(magic, 0, 4, 0)
    if (magic.toString('latin1') !== 'GGUF') return await openLegacyImatrix(path, handle, size)
  } catch (error) {
    await handle.close()
    throw error
  }
  await handle.close()
  return openGgufImatrix(path)
}

/** The values of an entry. @throws FileError for values that are not sums of squares */
export async function readEntry(file: ImatrixFile, name: string): Promise<Float32Array<ArrayBuffer>> {
  const entry = file.entries.get(name)
  if (!entry) throw new FileError(file.path, `there is no entry ${quote(name)}`)
  const values = await entry.read()
  const bad = values.findIndex((value) => !(value >= 0 && value < Number.POSITIVE_INFINITY))
  if (bad >= 0)
    throw new FileError(
      file.path,
      `the entry ${quote(name)} holds ${values[bad]}, which is no mean of squares; compute the matrix again`,
    )
  return values
}

/** More values than the inputs of any model; they take 4 GiB. */
const mostValues = 2 ** 30

/** Reads a whole file. @throws FileError for a file of another kind, a damaged one, or one larger than 4 GiB */
export async function readImatrix(path: string): Promise<Imatrix> {
  const file = await openImatrix(path)
  try {
    const values = [...file.entries.values()].reduce((sum, { length }) => sum + length, 0)
    if (values > mostValues)
      throw new FileError(path, `it claims ${values} values, and quench reads files with up to ${mostValues}`)
    const importance = new Map<string, Float32Array>()
    for (const name of file.entries.keys()) importance.set(name, await readEntry(file, name))
    return { importance, datasets: file.datasets, chunks: file.chunks }
  } finally {
    await file.close()
  }
}
