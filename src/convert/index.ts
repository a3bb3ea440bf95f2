/** Checkpoints to GGUF files. */
export { isCheckpoint } from '../checkpoint/index.js'
export { cachedConversion } from './cached.js'
export {
  type ConvertOptions,
  type ConvertResult,
  convertCheckpoint,
  defaultType,
  describeCheckpoint,
} from './convert.js'
