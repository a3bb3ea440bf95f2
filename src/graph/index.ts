export { expand, sum } from './broadcast.js'
export * from './elementwise.js'
export { grad, gradOfAll } from './grad.js'
export type { ProgramGraph } from './lower.js'
export { matmul } from './matmul.js'
export { logSoftmax, mean, rmsNorm, rsqrt, softmax } from './reduce.js'
export {
  concat,
  gather,
  gatherElements,
  reshape,
  roll,
  scatterAdd,
  scatterElements,
  slice,
  topK,
  transpose,
  writeRows,
} from './shape.js'
export {
  constant,
  type DType,
  GraphError,
  input,
  type Operand,
  type Shape,
  Tensor,
  type TypedArray,
} from './tensor.js'
