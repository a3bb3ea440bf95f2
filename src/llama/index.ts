/** llama.cpp from TypeScript: models, contexts, tokens, logits, quantization and sampling. */
export type { DecodeOptions } from './batch.js'
export { type ContextOptions, LlamaContext, type Performance } from './context.js'
export {
  dequantizeRows,
  ggmlTypeId,
  ggmlTypeName,
  QUANTIZABLE_TYPES,
  quantizeRows,
  quantizeRowsAsync,
  rowSize,
} from './ggml.js'
export { LlamaModel, type LoadOptions } from './model.js'
export { FILE_TYPES, type QuantizeOptions, quantizeModel } from './quantize.js'
export { type SampleOptions, sampleSequences } from './sample.js'
