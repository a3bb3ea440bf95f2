/** Which tensors and file types are rounded with importances, and which cannot be without. Source: tensor_requires_imatrix in src/llama-quant.cpp of llama.cpp v0.5.0. */
import { NEEDS_IMPORTANCE, type PlannedTensor } from '../llama/index.js'
import { isOuter } from './imatrix/of-model.js'

/** Whether ggml's quantizer of a file type weighs errors by importances; for the others it ignores them. */
export const usesImportance = (type: string): boolean =>
  !/^(B?F\d+|COPY|Q8_0|Q[12]_0|TQ\d_0|MXFP4.*|NVFP4)$/.test(type)

/** Whether files of a type cannot be made without importances. */
export const needsMatrix = (type: string): boolean => /^(IQ[12]|IQ3_X|Q2_K_S$)/.test(type)

/** ggml_type ids of IQ2_XXS, IQ2_XS, IQ3_XXS, IQ1_S, IQ2_S and IQ1_M, which would be of no use without. */
const useless = new Set([16, 17, 18, 19, 22, 29])
/** Of one file type its main type (Q2_K) would be too. */
const small = { file: 'Q2_K_S', tensor: 10 }

/** @param fileType of the whole file */
export function needsImportance({ name, type }: PlannedTensor, fileType: string): boolean {
  if (isOuter(name)) return NEEDS_IMPORTANCE.has(type)
  return useless.has(type) || (fileType === small.file && type === small.tensor)
}
