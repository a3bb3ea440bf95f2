/** The container: header, metadata and tensors of GGUF files, read lazily and written atomically. */
export type { TensorInfo } from './header.js'
export { type Inspection, inspectFile, type ShortValue } from './inspect.js'
export { type GgufArray, type GgufValue, Metadata } from './metadata.js'
export { type Gguf, openGguf } from './reader.js'
export { quote } from './text.js'
export { ggmlTypeNamed, ggmlTypes, type ValueType } from './types.js'
export { createGguf, type GgufContent, type GgufWriter } from './writer.js'
