/**
 * Quantized files that keep the codes of a checkpoint whose weights lie on a grid. Where the type of a tensor holds the grid, its codes
 * and the nearest scales replace what the quantizer has chosen; the rest of the file is the quantizer's. Which types do is planned from
 * some rows of each matrix, before there is a file.
 */
import { open } from 'node:fs/promises'
import { systemError } from '../files.js'
import { emptyCodes } from '../formats/blocks.js'
import type { Codes, Format } from '../formats/format.js'
import { formatOf } from '../formats/table.js'
import { type Gguf, ggmlTypes, openGguf, type TensorInfo } from '../gguf/index.js'
import { dequantizeRows, NEEDS_IMPORTANCE, quantizeRows } from '../llama/ggml.js'
import { readWeights, tensorScaleIn } from '../models/weights.js'
import { detectLattice } from './detect.js'
import { latticeOf } from './file.js'
import { KeepThreads } from './keep-rows.js'
import { type Placed, placeOnGrid } from './place.js'

/** A matrix on a grid that its type does not hold. */
interface LostGrid {
  readonly name: string
  /** Its type in the output. */
  readonly type: string
  /** The smallest type that would hold it; absent if there is none. */
  readonly holder?: string
  /** Error of ggml's quantizer on some rows, as a share of their root mean square. */
  readonly error: number
}

export interface KeptLattices {
  /** Matrices whose codes were kept, and their weights. */
  readonly matrices: number
  readonly weights: number
  /** Groups of these matrices that lie off the grid and were left to the quantizer, as a share. */
  readonly left: number
  /** What is left of a difference from the checkpoint, as a share of the root mean square of the kept weights. */
  readonly error: number
  readonly lost: readonly LostGrid[]
}

/** Replaces codes from a quantizer by those of the grid, if the weights (rows, columns) lie on one that the format holds. */
export function keepCodes(format: Format, weights: Float32Array, columns: number, codes: Codes): void {
  if (format.grid && detectLattice(weights, columns)) placeOnGrid(format, weights, codes)
}

/** `keepCodes` on stored rows. @returns the bytes themselves, or others in their place */
export function keepBytes(
  type: number,
  weights: Float32Array,
  columns: number,
  bytes: Uint8Array,
): Uint8Array {
  const format = formatOf(type)
  if (!format?.grid || !detectLattice(weights, columns)) return bytes
  const codes = format.decode(bytes)
  placeOnGrid(format, weights, codes)
  return format.encode(codes)
}

/** Weights that a thread gets at once. */
const pieceWeights = 2 ** 20

/** What a quantization does to the matrices on a grid. */
export interface LatticePlan {
  /** Those that keep their codes: tensors of the output by what they are made from. */
  readonly kept: ReadonlyMap<string, string>
  readonly lost: readonly LostGrid[]
}

/** Share of the groups of a matrix that keep their codes; of most others a few do by chance, such as zeros. */
const leastKept = 0.9

/** @param targets tensors of the output with their ggml_type ids, and what they are made from */
export async function planLattices(
  gguf: Gguf,
  targets: readonly { readonly name: string; readonly type: number; readonly source: TensorInfo }[],
): Promise<LatticePlan> {
  const kept = new Map<string, string>()
  const lost: LostGrid[] = []
  for (const { name, type, source } of targets) {
    const { name: typeName = '', blockSize = 1 } = ggmlTypes.get(type) ?? {}
    const found = blockSize > 1 ? await latticeOf(gguf, source) : undefined
    if (!found) continue
    const { rows, type: holder } = found
    const format = formatOf(type)
    if (format && placeOnGrid(format, rows, emptyCodes(format, rows.length / blockSize), leastKept))
      kept.set(source.name, name)
    else {
      const error = errorOf(type, rows, source.shape[0])
      lost.push({ name, type: typeName, ...(holder !== undefined && { holder }), error })
    }
  }
  return { kept, lost }
}

/** Error of ggml's quantizer, as a share of the root mean square. */
function errorOf(type: number, weights: Float32Array, columns: number): number {
  const importance = NEEDS_IMPORTANCE.has(type) ? new Float32Array(columns).fill(1) : undefined
  const stored = dequantizeRows(type, quantizeRows(type, weights, columns, importance), weights.length)
  let [squares, squaredError] = [0, 0]
  for (const [i, weight] of weights.entries()) {
    squares += weight ** 2
    squaredError += (stored[i] - weight) ** 2
  }
  return squares === 0 ? 0 : Math.sqrt(squaredError / squares)
}

/**
 * Puts the codes of the matrices that keep them into a file that was quantized from `input`.
 * @param output the first of its parts
 * @param onWeights gets the number of weights whose codes are kept so far, and of all
 * @returns undefined if no matrix lies on a grid
 */
export async function keepLattices(
  input: string,
  output: string,
  { kept, lost }: LatticePlan,
  onWeights: (done: number, total: number) => void = () => {},
): Promise<KeptLattices | undefined> {
  if (kept.size + lost.length === 0) return undefined
  const from = await openGguf(input)
  const threads = new KeepThreads()
  try {
    const to = await openGguf(output)
    try {
      const sums = { groups: 0, kept: 0, squares: 0, squaredError: 0 }
      const targets = [...kept].map(([source, name]) => ({ source, target: to.tensor(name) }))
      const weights = targets.reduce((sum, { target }) => sum + target.elements, 0)
      let done = 0
      for (const { source, target } of targets)
        await keepTensor(from, to, target, source, threads, (placed, count) => {
          for (const key of ['groups', 'kept', 'squares', 'squaredError'] as const) sums[key] += placed[key]
          done += count
          onWeights(done, weights)
        })
      return {
        matrices: kept.size,
        weights,
        left: sums.groups === 0 ? 0 : 1 - sums.kept / sums.groups,
        error: sums.squares === 0 ? 0 : Math.sqrt(sums.squaredError / sums.squares),
        lost,
      }
    } finally {
      await to.close()
    }
  } finally {
    await threads.dispose()
    await from.close()
  }
}

/** Rewrites a tensor of the output, whose type holds grids. @param onPiece is called in the order of the rows */
async function keepTensor(
  from: Gguf,
  to: Gguf,
  target: TensorInfo,
  source: string,
  threads: KeepThreads,
  onPiece: (placed: Placed, weights: number) => void,
): Promise<void> {
  const file = to.files[target.file]
  const handle = await open(file, 'r+').catch((error: unknown) => {
    throw systemError(file, error)
  })
  let written: Promise<void> = Promise.resolve()
  try {
    const scale = tensorScaleIn(to, target.name) ?? 1
    for await (const { weights, at, bytes } of pieces(from, to, target, source, scale)) {
      const keep = await threads.next()
      const count = weights.length
      const piece = keep({ type: target.type, weights, bytes }).then(async ({ bytes, placed }) => {
        await handle.write(bytes, 0, bytes.length, target.offset + at)
        const { squares, squaredError } = placed
        return { ...placed, squares: scale ** 2 * squares, squaredError: scale ** 2 * squaredError }
      })
      written = Promise.all([piece, written]).then(([placed]) => onPiece(placed, count))
      written.catch(() => {}) // awaited below
    }
    await written
  } catch (error) {
    throw systemError(file, error)
  } finally {
    await written.catch(() => {})
    await handle.close()
  }
}

/** A tensor of both files, some rows at a time, in units of its scale. `at` is the place of the bytes in the tensor. */
async function* pieces(from: Gguf, to: Gguf, target: TensorInfo, name: string, scale: number) {
  const source = from.tensor(name)
  const columns = target.shape[0]
  const rows = target.elements / columns
  const step = Math.max(1, Math.floor(pieceWeights / columns))
  const [fromRow, toRow] = [source.bytes / rows, target.bytes / rows]
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row)
    const read = await readWeights(from, source, row * fromRow, count * fromRow)
    const weights = scale === 1 ? read : read.map((w) => w / scale)
    yield { weights, at: row * toRow, bytes: await to.read(target, row * toRow, count * toRow) }
  }
}

/** Errors of six bits and more are not worth a warning. */
const smallError = 0.03
const namesShown = 3

/** The sentence about grids that were lost, of whatever types; none where little is. */
export function lostWarnings(path: string, { lost }: LatticePlan): string[] {
  const worse = lost.filter(({ error }) => error >= smallError)
  if (worse.length === 0) return []
  const types = [...new Set(worse.map(({ type }) => type))]
  const holders = [...new Set(worse.flatMap(({ holder }) => holder ?? []))]
  const names = worse.slice(0, namesShown).map(({ name }) => name)
  const more = worse.length > namesShown ? ` and ${worse.length - namesShown} more` : ''
  const percent = (100 * Math.max(...worse.map(({ error }) => error))).toFixed(0)
  const cure = holders.length === 0 ? 'no type holds it' : `${holders.join(', ')} would hold it`
  return [
    `${path}: the weights of ${names.join(', ')}${more} were quantized before, as in a QAT checkpoint or a file that was made from a quantized one, and ${types.join(', ')} does not hold their grid (error up to ${percent} %; ${cure}); if they were not trained so, start from the original weights`,
  ]
}
