/** Checkpoints as they are published: configuration, safetensors and tokenizer files, read with limits. */
export { Checkpoint, filesIn, isCheckpoint, isWeights, readConfig } from './checkpoint.js'
export { Fields } from './fields.js'
export { parseObject, readJson } from './json.js'
export { checkpointFiles } from './published.js'
export { readSafetensors, type StoredTensor, safetensorsHeader } from './safetensors.js'
export { pieceType, readSentencePiece, type SentencePieceModel } from './sentencepiece.js'
