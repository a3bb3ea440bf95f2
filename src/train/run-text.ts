/** The text of a run, in windows: which of them the start is computed from, and whole batches to validate on. */
import { WindowOrder } from '../data/order.js'
import type { Batch } from '../models/architecture.js'
import { join } from './distillation.js'
import type { Network } from './network.js'
import type { TrainOptions } from './options.js'
import type { Source } from './source.js'
import { type TextOptions, type TextReport, trainingText } from './text.js'

/** Held-out tokens. */
export const validationTokens = 4096
export const defaultCalibration = 49_152
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

/** Reads and writes the text. @throws UsageError for too little of it */
export async function runText(
  source: Source,
  network: Network,
  options: TrainOptions,
  memory: number,
): Promise<RunText> {
  const { windows, length } = network.batch
  const split = await trainingText(options.input, textOptions(source, network, options, memory))
  const order = new WindowOrder(split.train, options.seed ?? 1)
  const wanted = Math.min((options.calibration ?? defaultCalibration) / length, split.train.length)
  return {
    order,
    windows: split.train,
    validation: wholeBatches(split.validation, windows),
    calibration: order.take(0, Math.floor(wanted / windows) * windows),
    report: split,
  }
}

/** The text of a run as it is to be read and written. */
export function textOptions(
  { fingerprint }: Source,
  { batch: { windows, length } }: Network,
  { data, selfWritten, tokens = defaultTokens, seed = 1, onProgress, signal }: TrainOptions,
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
    ...(signal && { signal }),
  }
}

/** The tokens of a whole number of batches, batch by batch. */
export const inBatches = (windows: readonly Int32Array[], { windows: size }: Batch): Int32Array[] =>
  Array.from({ length: windows.length / size }, (_, i) => join(windows.slice(i * size, (i + 1) * size)))

/** As many windows as fill whole batches; a single incomplete batch is filled up by repeating windows. */
function wholeBatches(windows: readonly Int32Array[], size: number): Int32Array[] {
  const count = Math.max(size, Math.floor(windows.length / size) * size)
  return Array.from({ length: count }, (_, i) => windows[i % windows.length])
}
