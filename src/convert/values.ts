/** Metadata values by their stored type. */
import type { GgufValue } from '../gguf/index.js'

export type Entry = readonly [key: string, value: GgufValue]

export const uint32 = (value: number): GgufValue => ({ type: 'uint32', value })
export const int32 = (value: number): GgufValue => ({ type: 'int32', value })
export const float32 = (value: number): GgufValue => ({ type: 'float32', value })
export const bool = (value: boolean): GgufValue => ({ type: 'bool', value })
export const string = (value: string): GgufValue => ({ type: 'string', value })
export const strings = (value: readonly string[]): GgufValue => ({
  type: 'array',
  itemType: 'string',
  value: [...value],
})
export const int32s = (value: readonly number[]): GgufValue => ({
  type: 'array',
  itemType: 'int32',
  value: Int32Array.from(value),
})
export const float32s = (value: readonly number[]): GgufValue => ({
  type: 'array',
  itemType: 'float32',
  value: Float32Array.from(value),
})
export const bools = (value: readonly boolean[]): GgufValue => ({
  type: 'array',
  itemType: 'bool',
  value: Uint8Array.from(value, Number),
})
