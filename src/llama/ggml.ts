/**
 * ggml's own quantizers and dequantizers, on rows of weights: the reference for quench's formats.
 *
 * Type ids are those of `ggml_type`; the library is never called with an id past 42 or a removed one, since it does not check
 * ids itself.
 */
import koffi, { type KoffiFunc } from 'koffi'
import { QuenchError } from '../errors.js'
import { threadCount } from '../threads.js'
import { library } from './library.js'
import { callAsync } from './native.js'
import { type Pointer, type TypeTraits, TypeTraitsStruct } from './structs.js'

const LAST_TYPE = 42
const REMOVED_TYPES = new Set([4, 5, 31, 32, 33, 36, 37, 38])
/** Types that `ggml_quantize_chunk` can write, in the order of their ids. */
export const QUANTIZABLE_TYPES: readonly number[] = [
  0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 29, 30, 34, 35, 39, 40, 41, 42,
]
/** IQ2_XXS, IQ2_XS and IQ1_S, which ggml refuses to write without an importance matrix. */
export const NEEDS_IMPORTANCE: ReadonlySet<number> = new Set([16, 17, 19])

const ToFloat = koffi.proto('void', ['void *', 'void *', 'int64_t'])
const traits = new Map<number, TypeTraits>()

function traitsOf(type: number): TypeTraits {
  let known = traits.get(type)
  if (!known) {
    if (!Number.isInteger(type) || type < 0 || type > LAST_TYPE || REMOVED_TYPES.has(type)) {
      throw new QuenchError(`There is no tensor type ${type} in this release of llama.cpp.`)
    }
    known = koffi.decode(library().typeTraits(type), TypeTraitsStruct) as TypeTraits
    traits.set(type, known)
  }
  return known
}

/** ggml's name of a type, in capitals: 12 is `Q4_K`. @throws QuenchError for an unknown id. */
export function ggmlTypeName(type: number): string {
  return traitsOf(type).type_name.toUpperCase()
}

/** The id of a type by its name in any case: `q4_k` is 12. @throws QuenchError for an unknown name. */
export function ggmlTypeId(name: string): number {
  for (let type = 0; type <= LAST_TYPE; type++) {
    if (!REMOVED_TYPES.has(type) && ggmlTypeName(type) === name.toUpperCase()) return type
  }
  throw new QuenchError(`There is no tensor type "${name}" in this release of llama.cpp.`)
}

/** Bytes of a row of `elements` weights. @throws QuenchError if a row is not a whole number of blocks. */
export function rowSize(type: number, elements: number): number {
  const { blck_size, type_size } = traitsOf(type)
  if (!Number.isSafeInteger(elements) || elements < 0 || elements % blck_size !== 0) {
    throw new QuenchError(
      `A row of ${elements} weights is not a whole number of ${ggmlTypeName(type)} blocks of ${blck_size}.`,
    )
  }
  return (elements / blck_size) * type_size
}

/** ggml_type ids of IQ3_XXS, IQ3_S, IQ2_S and IQ1_M: with those that need importances, all types with a codebook. */
const OTHER_CODEBOOKS: ReadonlySet<number> = new Set([18, 21, 22, 29])
/** Their quantizers abort where sums of squares overflow; halves, which are their scales, end long before. */
const largestOfCodebooks = 1e9

/** Checks everything on which `ggml_quantize_chunk` would abort the process. Returns the number of rows. */
function checkRows(
  type: number,
  weights: Float32Array,
  rowLength: number,
  importance?: Float32Array,
): number {
  const name = ggmlTypeName(type)
  if (!QUANTIZABLE_TYPES.includes(type)) throw new QuenchError(`llama.cpp cannot quantize to ${name}.`)
  if (rowLength < 1 || weights.length % rowLength !== 0) {
    throw new RangeError(`${weights.length} weights are not a whole number of rows of ${rowLength}`)
  }
  if (importance && importance.length !== rowLength) {
    throw new RangeError(`${importance.length} importances for rows of ${rowLength} weights`)
  }
  if (!importance && NEEDS_IMPORTANCE.has(type)) throw new QuenchError(`${name} needs an importance matrix.`)
  if (traitsOf(type).is_quantized) {
    const bad = firstNotFinite(weights)
    if (bad >= 0)
      throw new QuenchError(`weight ${bad} is ${weights[bad]}, which cannot be quantized to ${name}`)
  }
  if (NEEDS_IMPORTANCE.has(type) || OTHER_CODEBOOKS.has(type)) {
    const large = weights.findIndex((w) => Math.abs(w) > largestOfCodebooks)
    if (large >= 0)
      throw new QuenchError(`weight ${large} is ${weights[large]}, which is too large for ${name}`)
  }
  return weights.length / rowLength
}

/** -1 if all are finite. A plain loop, since every weight of a model passes through it several times. */
function firstNotFinite(weights: Float32Array): number {
  for (let i = 0; i < weights.length; i++) if (weights[i] - weights[i] !== 0) return i
  return -1
}

/**
 * Quantizes rows of weights (rows, rowLength) to `type`, with ggml's reference quantizer. Blocks the caller.
 * @param importance one factor of the squared error per column (rowLength); ggml ignores it for some types.
 */
export function quantizeRows(
  type: number,
  weights: Float32Array,
  rowLength: number,
  importance?: Float32Array,
): Uint8Array {
  const rows = checkRows(type, weights, rowLength, importance)
  const bytes = new Uint8Array(rows * rowSize(type, rowLength))
  if (rows > 0) library().quantizeChunk(type, weights, bytes, 0, rows, rowLength, importance ?? null)
  return bytes
}

/** `quantizeRows` on up to `threads` threads of Node's pool, each with a slice of the rows. Yields the same bytes. */
export async function quantizeRowsAsync(
  type: number,
  weights: Float32Array,
  rowLength: number,
  importance?: Float32Array,
  threads = threadCount(),
): Promise<Uint8Array> {
  const rows = checkRows(type, weights, rowLength, importance)
  const bytes = new Uint8Array(rows * rowSize(type, rowLength))
  const slice = Math.ceil(rows / Math.max(1, threads))
  const slices: Promise<number>[] = []
  for (let row = 0; row < rows; row += slice) {
    const count = Math.min(slice, rows - row)
    const { quantizeChunk } = library()
    slices.push(
      callAsync(quantizeChunk, type, weights, bytes, row * rowLength, count, rowLength, importance ?? null),
    )
  }
  await Promise.all(slices)
  return bytes
}

/** Dequantizes bytes with ggml's own dequantizer. `elements` is a whole number of blocks. */
export function dequantizeRows(type: number, bytes: Uint8Array, elements: number): Float32Array {
  const size = rowSize(type, elements)
  if (bytes.length !== size) {
    throw new RangeError(
      `${bytes.length} bytes for ${elements} weights of ${ggmlTypeName(type)}, not ${size}`,
    )
  }
  const weights = new Float32Array(elements)
  const { to_float } = traitsOf(type)
  if (type === 0) new Uint8Array(weights.buffer).set(bytes)
  else if (to_float === null) throw new QuenchError(`llama.cpp cannot dequantize ${ggmlTypeName(type)}.`)
  else if (elements > 0) toFloat(to_float)(bytes, weights, elements)
  return weights
}

function toFloat(
  address: Pointer,
): KoffiFunc<(bytes: Uint8Array, weights: Float32Array, elements: number) => void> {
  return koffi.decode(address, ToFloat)
}
