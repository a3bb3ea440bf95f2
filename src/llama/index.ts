/** llama.cpp from TypeScript: models, contexts, tokens, logits, quantization and sampling. */
export { LlamaContext } from './context.js'
export { type Device, devices, hasGpu, instructionSets, llamaVersion } from './devices.js'
export {
  dequantizeRows,
  ggmlTypeId,
  ggmlTypeName,
  NEEDS_IMPORTANCE,
  QUANTIZABLE_TYPES,
  quantizeRows,
  quantizeRowsAsync,
  rowSize,
} from './ggml.js'
export { LlamaModel } from './model.js'
export type { NativeBuffer } from './native.js'
export {
  COPY,
  FILE_TYPES,
  type OverrideValue,
  type PlannedTensor,
  type QuantizeOptions,
  type TensorTypeRule,
} from './native-work.js'
export { PACKAGE_VERSION } from './package.js'
export { checkLoads, tryEarly } from './probe.js'
export { importanceNeeded, planModel, quantizeModel } from './quantize.js'
export { sampleSequences, sideBySide } from './sample.js'
export type { Turns } from './writer.js'
