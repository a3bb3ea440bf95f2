/** The text of a run, in windows: which of them the start is computed from, and whole batches to validate on. */
import { WindowOrder } from '../data/order.js'
import type { Batch } from '../models/architecture.js'
import { join } from './distillation.js'
import type { Network } from './network.js'
import type { TrainOptions } from './options.js'
import type { Source } from './source.js'
import { type TextOptions, type TextReport, textSizes, trainingText } from './text.js'

/** Held-out tokens. */
const validationTokens = 4096
const defaultCalibration = 49_152
export const defaultTokens = 131_072

export interface RunText {
  readonly report: TextReport
  readonly order: WindowOrder
  readonly windows: readonly Int32Array[]
  /** A whole number of batches. */
  readonly validation: readonly Int32Array[]
  /** Windows of the block-wise start: a whole number of batches. */
  readonly calibration: readonly Int32Array[]
}

/**
 * Tokens of a run's text by what they are for, in whole batches where the run takes whole batches. They follow from the options and
 * the files alone, so a run decides the same whether the model's own text is in the cache or still to be written.
 */
export function textTokens(
  files: readonly Int32Array[],
  { batch: { windows, length } }: Network,
  options: TextOptions,
  calibration = defaultCalibration,
): { train: number; validation: number; calibration: number } {
  const sizes = textSizes(files, options)
  return {
    train: sizes.train * length,
    validation: batchesOf(sizes.validation, windows) * length,
    calibration: Math.floor(Math.min(calibration / length, sizes.train) / windows) * windows * length,
  }
}

/**
 * Makes the text: the windows of the files, and what the model writes.
 * @param calibration tokens of the block-wise start
 * @throws UsageError for too little text
 */
export async function runText(
  input: string,
  { batch: { windows, length } }: Network,
  options: TextOptions,
  files: readonly Int32Array[],
  calibration: number,
): Promise<RunText> {
  const split = await trainingText(input, options, files)
  const order = new WindowOrder(split.train, options.seed)
  const most = Math.min(calibration / length, split.train.length)
  return {
    order,
    windows: split.train,
    validation: wholeBatches(split.validation, windows),
    calibration: order.take(0, Math.floor(most / windows) * windows),
    report: split,
  }
}

/** The text of a run as it is to be read and written. */
export function textOptions(
  { fingerprint }: Source,
  { batch: { windows, length } }: Network,
  { data, selfWritten, tokens = defaultTokens, seed = 1, onProgress, onWarning, signal }: TrainOptions,
  memory: number,
): TextOptions {
  return {
    data: data ?? [],
    ...(selfWritten !== undefined && { selfWritten }),
    tokens,
    length,
    validation: windows * Math.ceil(validationTokens / length / windows),
    seed,
    fingerprint,
    memory,
    onProgress: (done, total) => onProgress?.({ stage: 'write text', done, total, tokens: total }),
    ...(onWarning && { onWarning }),
    ...(signal && { signal }),
  }
}

/** The tokens of a whole number of batches, batch by batch. */
export const inBatches = (windows: readonly Int32Array[], { windows: size }: Batch): Int32Array[] =>
  Array.from({ length: windows.length / size }, (_, i) => join(windows.slice(i * size, (i + 1) * size)))

/** As many windows as fill whole batches; a single incomplete batch is filled up by repeating windows. */
function wholeBatches(windows: readonly Int32Array[], size: number): Int32Array[] {
  return Array.from({ length: batchesOf(windows.length, size) }, (_, i) => windows[i % windows.length])
}

const batchesOf = (windows: number, size: number): number => Math.max(size, Math.floor(windows / size) * size)
