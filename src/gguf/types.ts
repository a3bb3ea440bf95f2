/**
 * Type numbers of GGUF files: ggml tensor types (how weights are packed) and GGUF value types (the type of a metadata value).
 * Ids that ggml has removed (4, 5, 31-33, 36-38) are unknown here too.
 * Source: ggml.h and ggml-common.h of llama.cpp v0.5.0; the oracle test compares every line with libggml.
 */

/** How a tensor is packed: rows are split into blocks of `blockSize` weights that take `blockBytes` bytes each. */
export interface GgmlType {
  /** ggml_type id, as stored in the file. */
  readonly type: number
  /** ggml's name in upper case, e.g. `Q4_K`. */
  readonly name: string
  readonly blockSize: number
  readonly blockBytes: number
}

// [id, name, weights per block, bytes per block]
const rows: [number, string, number, number][] = [
  [0, 'F32', 1, 4],
  [1, 'F16', 1, 2],
  [2, 'Q4_0', 32, 18],
  [3, 'Q4_1', 32, 20],
  [6, 'Q5_0', 32, 22],
  [7, 'Q5_1', 32, 24],
  [8, 'Q8_0', 32, 34],
  [9, 'Q8_1', 32, 36],
  [10, 'Q2_K', 256, 84],
  [11, 'Q3_K', 256, 110],
  [12, 'Q4_K', 256, 144],
  [13, 'Q5_K', 256, 176],
  [14, 'Q6_K', 256, 210],
  [15, 'Q8_K', 256, 292],
  [16, 'IQ2_XXS', 256, 66],
  [17, 'IQ2_XS', 256, 74],
  [18, 'IQ3_XXS', 256, 98],
  [19, 'IQ1_S', 256, 50],
  [20, 'IQ4_NL', 32, 18],
  [21, 'IQ3_S', 256, 110],
  [22, 'IQ2_S', 256, 82],
  [23, 'IQ4_XS', 256, 136],
  [24, 'I8', 1, 1],
  [25, 'I16', 1, 2],
  [26, 'I32', 1, 4],
  [27, 'I64', 1, 8],
  [28, 'F64', 1, 8],
  [29, 'IQ1_M', 256, 56],
  [30, 'BF16', 1, 2],
  [34, 'TQ1_0', 256, 54],
  [35, 'TQ2_0', 256, 66],
  [39, 'MXFP4', 32, 17],
  [40, 'NVFP4', 64, 36],
  [41, 'Q1_0', 128, 18],
  [42, 'Q2_0', 64, 18],
]

/** Every known tensor type by id. */
export const ggmlTypes: ReadonlyMap<number, GgmlType> = new Map(
  rows.map(([type, name, blockSize, blockBytes]) => [type, { type, name, blockSize, blockBytes }]),
)

const byName = new Map([...ggmlTypes.values()].map((t) => [t.name, t]))

/** The type with ggml's upper-case name (`Q4_K`), or undefined. */
export const ggmlTypeNamed = (name: string): GgmlType | undefined => byName.get(name)

/** Names of the GGUF value types; the index is the id stored in the file. */
export const valueTypes = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
] as const

export type ValueType = (typeof valueTypes)[number]

/** Minimum size in bytes of a value of the type in a file; exact for all but strings and arrays. */
export const valueBytes: Readonly<Record<ValueType, number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 8, // the length
  array: 12, // the item type and the count
  uint64: 8,
  int64: 8,
  float64: 8,
}
