/** Which tensors and file types are rounded with importances, and which cannot be without. Source: tensor_requires_imatrix in src/llama-quant.cpp of llama.cpp v0.5.0. */
import { NEEDS_IMPORTANCE } from '../llama/ggml.js'
import { COPY, type PlannedTensor } from '../llama/native-work.js'
import { isOuter } from './imatrix/of-model.js'

/** File types of which all matrices of the blocks get tensor types for which ggml's quantizer ignores importances. */
const ignoring = new Set([
  ...['F32', 'F16', 'BF16', COPY, 'Q8_0'],
  ...['Q2_0', 'Q1_0', 'TQ2_0', 'TQ1_0', 'NVFP4', 'MXFP4', 'MXFP4_MOE'],
])

/** Whether ggml's quantizer of a file type weighs errors by importances; for the others it ignores them. */
export const usesImportance = (type: string): boolean => !ignoring.has(type)

/** ggml_type ids of F32, F16, Q8_0, BF16, TQ1_0, TQ2_0, MXFP4, NVFP4, Q1_0 and Q2_0. */
const ignoringTensors = new Set([0, 1, 8, 30, 34, 35, 39, 40, 41, 42])

/** Whether ggml's quantizer of a tensor type (ggml_type id) weighs errors by importances. */
export const typeUsesImportance = (type: number): boolean => !ignoringTensors.has(type)

/** Whether it does so for any matrix of the blocks, given ggml_type ids by tensor. */
export const blocksUseImportance = (types: ReadonlyMap<string, number>): boolean =>
  [...types].some(([name, type]) => !isOuter(name) && typeUsesImportance(type))

/** File types that have matrices of such a tensor type as is refused without importances (below). */
const needing = new Set([
  ...['IQ3_XS', 'IQ3_XXS', 'Q2_K_S'],
  ...['IQ2_M', 'IQ2_S', 'IQ2_XS', 'IQ2_XXS', 'IQ1_M', 'IQ1_S'],
])

/** Whether files of a type cannot be made without importances. */
export const needsMatrix = (type: string): boolean => needing.has(type)

/** ggml_type ids of IQ2_XXS, IQ2_XS, IQ3_XXS, IQ1_S, IQ2_S and IQ1_M, which would be of no use without. */
const useless = new Set([16, 17, 18, 19, 22, 29])
/** Of one file type its main type (Q2_K) would be too. */
const small = { file: 'Q2_K_S', tensor: 10 }

/** Whether a matrix of the blocks in a tensor type (ggml_type id) is of no use without importances. */
export const isUseless = (type: number): boolean => useless.has(type)

/** @param fileType of the whole file */
export function needsImportance({ name, type }: PlannedTensor, fileType: string): boolean {
  if (isOuter(name)) return NEEDS_IMPORTANCE.has(type)
  return useless.has(type) || (fileType === small.file && type === small.tensor)
}
