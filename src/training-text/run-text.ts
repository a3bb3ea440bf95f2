/** The text of a run: training windows, those of them for calibration, and general text for decisions. */

import { defaults } from '../config/defaults.js'
import type { TrainOptions } from '../config/options.js'
import { WindowOrder } from '../data/order.js'
import { joinWindows } from '../data/windows.js'
import type { Network } from '../engine/network.js'
import type { Batch } from '../models/architecture.js'
import type { Source } from '../student/source.js'
import type { KindWindows } from '../validation/validation.js'
import { countsOf, type ReadText, type TextOptions, type TextReport, trainingText } from './text.js'

export interface RunText {
  readonly report: TextReport
  readonly order: WindowOrder
  readonly windows: readonly Int32Array[]
  /** Windows of the block-wise stage: a whole number of batches. */
  readonly calibration: readonly Int32Array[]
  /** General text for importances, whatever the run trains on. */
  readonly importance: readonly KindWindows[]
  /** General text that decides among candidates of a matrix, and text that stages are validated on. */
  readonly trial: readonly KindWindows[]
  readonly validation: readonly KindWindows[]
}

/**
 * Tokens of a run's text by purpose; those for calibration are whole batches. They depend only on the options and the files, so a run
 * decides the same whether the self-written text is cached or still to be written.
 */
export function textTokens(
  read: ReadText,
  { batch: { windows, length } }: Network,
  options: TextOptions,
  calibration: number = defaults.calibration,
): Record<'train' | 'importance' | 'trial' | 'validation' | 'calibration', number> {
  const { files, general, selfWritten } = countsOf(read, options)
  const train = files + general + selfWritten
  return {
    train: train * length,
    importance: tokensOf(read.importance, length),
    trial: tokensOf(read.trial, length),
    validation: tokensOf(read.validation, length),
    calibration: Math.floor(Math.min(calibration / length, train) / windows) * windows * length,
  }
}

const tokensOf = (text: readonly KindWindows[], length: number): number =>
  text.reduce((sum, { windows }) => sum + windows.length * length, 0)

/**
 * Makes the text: the windows that were read, and those that the model writes.
 * @param calibration tokens of the block-wise stage
 * @throws UsageError for too little text
 */
export async function runText(
  input: string,
  { batch: { windows, length } }: Network,
  options: TextOptions,
  read: ReadText,
  calibration: number,
): Promise<RunText> {
  const { windows: all, ...report } = await trainingText(input, options, read)
  const order = new WindowOrder(all, options.seed)
  const most = Math.min(calibration / length, all.length)
  const { importance, trial, validation } = read
  return {
    order,
    windows: all,
    calibration: order.take(0, Math.floor(most / windows) * windows),
    importance,
    trial,
    validation,
    report,
  }
}

/** The options for reading and writing the text of a run. @param length tokens of a window. @param mostWritten as in TextOptions */
export function textOptions(
  { fingerprint }: Source,
  length: number,
  {
    data,
    selfWritten,
    general,
    validation,
    tokens = defaults.tokens,
    seed = defaults.seed,
    onProgress,
    onWarning,
    signal,
  }: TrainOptions,
  memory: number,
  mostWritten?: number,
): TextOptions {
  return {
    data: data ?? [],
    ...(selfWritten !== undefined && { selfWritten }),
    ...(general !== undefined && { general }),
    ...(validation !== undefined && { validation }),
    tokens,
    length,
    seed,
    fingerprint,
    memory,
    ...(mostWritten !== undefined && { mostWritten }),
    onProgress: (done, total) => onProgress?.({ stage: 'write text', done, total, tokens: total }),
    ...(onWarning && { onWarning }),
    ...(signal && { signal }),
  }
}

/** The tokens of a whole number of batches, batch by batch. */
export const inBatches = (windows: readonly Int32Array[], { windows: size }: Batch): Int32Array[] =>
  Array.from({ length: windows.length / size }, (_, i) =>
    joinWindows(windows.slice(i * size, (i + 1) * size)),
  )
