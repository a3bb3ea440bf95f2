/**
 * What llama.cpp's CPU backend keeps in an order of its own, beside the mapped file, so that it takes memory twice.
 * Source: ggml_repack_get_optimal_repack_type in ggml-cpu/repack.cpp, supports_op in ggml-cpu/amx/amx.cpp and get_row_size in
 * ggml-cpu/amx/mmq.cpp of llama.cpp v0.5.0.
 */
import { ggmlTypes, type TensorInfo } from '../../gguf/index.js'

/** Types that are interleaved, by the instruction set that wants them so. */
const interleaved: readonly (readonly [instruction: string, types: readonly string[]])[] = [
  ['AVX2', ['Q4_0', 'Q4_K', 'IQ4_NL', 'MXFP4']],
  ['AVX512', ['Q2_K']],
  ['DOTPROD', ['Q4_0', 'Q4_K', 'Q5_K', 'Q6_K', 'Q8_0', 'IQ4_NL', 'MXFP4', 'Q1_0']],
]
const interleavedRows = 8

/** Types for tiles of AMX: what divides their rows, and bytes that each block grows by. */
const tiled: Readonly<Record<string, readonly [multiple: number, grows: number]>> = {
  F16: [16, 0],
  Q4_0: [32, 0],
  Q4_1: [32, 0],
  Q8_0: [32, 4],
  Q4_K: [256, 4],
  Q5_K: [256, 4],
  Q6_K: [256, 0],
  IQ4_XS: [256, 2],
}
const tiledRows = 32

/** Bytes of the copy of a matrix that a processor with these instruction sets keeps; undefined if it uses the file's own. */
export function repackedBytes(
  { type, shape, bytes }: Pick<TensorInfo, 'type' | 'shape' | 'bytes'>,
  instructions: readonly string[],
): number | undefined {
  const format = ggmlTypes.get(type)
  if (!format) return undefined
  const [columns, rows] = shape
  const tile = instructions.includes('AMX_INT8') && shape.length === 2 ? tiled[format.name] : undefined
  if (tile && columns % tile[0] === 0 && rows % tiledRows === 0)
    return bytes + (bytes / format.blockBytes) * tile[1]
  const wanted = interleaved.some(
    ([instruction, types]) => instructions.includes(instruction) && types.includes(format.name),
  )
  return wanted && rows % interleavedRows === 0 ? bytes : undefined
}
