/**
 * How much of each matrix every type loses: the squared error of its weights, weighted by the importance of their columns, as a share of
 * the weighted squares. Rows from all over a matrix are rounded by ggml's own quantizer.
 */
import { aboutTensors } from '../errors.js'
import { formatOf } from '../formats/table.js'
import { isRounded } from '../formats/tensors.js'
import { type Gguf, ggmlTypes, type TensorInfo } from '../gguf/index.js'
import {
  dequantizeRows,
  NEEDS_IMPORTANCE,
  QUANTIZABLE_TYPES,
  quantizeRowsAsync,
  rowSize,
} from '../llama/index.js'
import { readWeights } from '../models/weights.js'
import { isUseless } from '../quantize/needs-importance.js'

/** A type that a matrix may have. */
export interface RoundedType {
  /** ggml_type id. */
  readonly type: number
  readonly bytes: number
  readonly bitsPerWeight: number
  /** Weighted squared error, relative. */
  readonly error: number
}

export interface ErrorSettings {
  /** Mean squares of what the matrices read; without, types that need them are left out. */
  readonly importance: ReadonlyMap<string, Float32Array>
  /** Whether only types that train are taken. */
  readonly trainable: boolean
  readonly threads: number | undefined
  readonly onProgress: (done: number, total: number) => void
}

/** Rows of a matrix that are rounded to every type. */
const sampledRows = 32

/** The types of every matrix that can be rounded, by tensor; the last is the one that it has. */
export async function typeErrors(gguf: Gguf, settings: ErrorSettings): Promise<Map<string, RoundedType[]>> {
  const matrices = gguf.tensors.filter(
    (tensor) => isRounded(tensor) && formatOf(tensor.type)?.blockSize === 1,
  )
  const errors = new Map<string, RoundedType[]>()
  for (const [i, tensor] of matrices.entries()) {
    settings.onProgress(i, matrices.length)
    errors.set(tensor.name, await errorsOf(gguf, tensor, settings))
  }
  settings.onProgress(matrices.length, matrices.length)
  return errors
}

async function errorsOf(
  gguf: Gguf,
  tensor: TensorInfo,
  { importance, trainable, threads }: ErrorSettings,
): Promise<RoundedType[]> {
  const { name, shape, elements } = tensor
  const columns = shape[0]
  const rows = elements / columns
  const weights = await sampleRows(gguf, tensor, rows)
  // Experts have importances of their own; their mean stands for them, since rows of all are sampled.
  const own = importance.has(name) ? meanOver(importance.get(name) as Float32Array, columns) : undefined
  const types = QUANTIZABLE_TYPES.filter((type) => {
    const { blockSize = 1 } = ggmlTypes.get(type) ?? {}
    const lacks = !own && (NEEDS_IMPORTANCE.has(type) || isUseless(type))
    const trains = !trainable || formatOf(type)?.latents !== undefined
    // A scale of the tensor would be another tensor of the file.
    const scaled = formatOf(type)?.withTensorScale !== undefined
    return blockSize > 1 && columns % blockSize === 0 && !lacks && trains && !scaled
  })
  const found: RoundedType[] = []
  for (const type of types) {
    const bytes = await quantizeRowsAsync(type, weights, columns, own, threads).catch((error: unknown) => {
      throw aboutTensors(gguf.path, name, error)
    })
    const error = relativeError(weights, dequantizeRows(type, bytes, weights.length), own)
    const size = rows * rowSize(type, columns)
    found.push({ type, bytes: size, bitsPerWeight: (8 * size) / elements, error })
  }
  return [
    ...found,
    { type: tensor.type, bytes: tensor.bytes, bitsPerWeight: (8 * tensor.bytes) / elements, error: 0 },
  ]
}

async function sampleRows(gguf: Gguf, tensor: TensorInfo, rows: number): Promise<Float32Array> {
  const columns = tensor.shape[0]
  const count = Math.min(rows, sampledRows)
  const rowBytes = tensor.bytes / rows
  const weights = new Float32Array(count * columns)
  for (let i = 0; i < count; i++) {
    const row = Math.floor(((i + 0.5) * rows) / count)
    weights.set(await readWeights(gguf, tensor, row * rowBytes, rowBytes), i * columns)
  }
  return weights
}

function meanOver(importance: Float32Array, columns: number): Float32Array {
  const mean = new Float32Array(columns)
  const matrices = importance.length / columns
  for (let i = 0; i < importance.length; i++) mean[i % columns] += importance[i] / matrices
  return mean
}

function relativeError(weights: Float32Array, stored: Float32Array, importance?: Float32Array): number {
  let [squares, wrong] = [0, 0]
  for (let i = 0; i < weights.length; i++) {
    const factor = importance ? importance[i % importance.length] : 1
    squares += factor * weights[i] ** 2
    wrong += factor * (stored[i] - weights[i]) ** 2
  }
  return squares === 0 ? 0 : wrong / squares
}
