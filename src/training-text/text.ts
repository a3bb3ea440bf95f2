/**
 * The windows that a run trains on: general text that ships with quench, self-written text, and the user's own. Other windows of the
 * general text decide among the candidates of a matrix, and a run is validated on general text from other sources, whatever it trains
 * on, so that a result has to be better on text that it was not made from. A part of the user's own text is also held out, to report
 * the divergence on it.
 */

import { defaults } from '../config/defaults.js'
import type { Writing } from '../config/plan.js'
import { checkWritingMemory, isWritten, selfWritten, selfWrittenBytes } from '../data/self-written.js'
import { readDocuments, textWarnings } from '../data/texts.js'
import { cutWindows, spread } from '../data/windows.js'
import { UsageError } from '../errors.js'
import { LlamaModel } from '../llama/index.js'
import type { KindWindows } from '../validation/validation.js'
import { generalWindows, inTurns, ofEachKind, splitKinds } from './general-text.js'

export interface TextOptions {
  /** Files and folders. */
  readonly data: readonly string[]
  /** Share of the tokens that the model writes itself, from 0 to 1. Default: 0 with files, else what `general` leaves, or half. */
  readonly selfWritten?: number
  /** Share of the tokens from general text. Default: half of the others with files, all of them without. */
  readonly general?: number
  /**
   * Tokens of each kind of general text for validation, and as many for importances; a third as many decide among candidates.
   * Default 1,536.
   */
  readonly validation?: number
  /** Most training tokens. */
  readonly tokens: number
  /** Tokens of a window. */
  readonly length: number
  readonly seed: number
  readonly fingerprint: string
  /** Most windows that the model writes; general text takes the place of the others if there is any. Default: no limit. */
  readonly mostWritten?: number
  /** Memory limit of the process in bytes while the model writes. Default: none. */
  readonly memory?: number
  readonly onProgress?: (tokens: number, total: number) => void
  readonly onWarning?: (warning: string) => void
  readonly signal?: AbortSignal
}

/** Tokens that decide among candidates, as a share of the validation tokens. */
const trialShare = 1 / 3
/** Most windows of a kind. */
const mostOfKind = 48

/** The composition of a text, in tokens. */
export interface TextReport {
  readonly fileTokens: number
  readonly generalTokens: number
  readonly selfWrittenTokens: number
  /** Share of distinct 4-grams within a window; low for repetitive text. */
  readonly distinct4: number
  /** Bytes of the self-written text in the cache. */
  readonly cacheBytes: number
}

/** Text that is read, not written: all of it, before a run takes its share. */
export interface ReadText {
  readonly files: readonly Int32Array[]
  readonly general: readonly KindWindows[]
  /** The part of the general text for importances. */
  readonly importance: readonly KindWindows[]
  /** General text that decides among candidates. */
  readonly trial: readonly KindWindows[]
  /** General text for validation, and a held-out part of the files. */
  readonly validation: readonly KindWindows[]
}

/** Reads the files in `data` and the general text. @throws UsageError for shares that conflict with `data` or each other */
export async function readText(path: string, options: TextOptions): Promise<ReadText> {
  const { length, validation: tokens = defaults.validation } = options
  const shares = sharesOf(options)
  const model = await LlamaModel.load(path, { vocabOnly: true })
  try {
    const windows = shares.files > 0 ? await fileWindows(model, options) : []
    const { held, files } = heldOut(windows, perKind(tokens, length))
    // If the model also writes, a failing chat template is reported there.
    const told = shares.selfWritten > 0 ? undefined : options.onWarning
    const calibration = await generalWindows('calibration', path, model, length, told)
    const { taken, rest } = splitKinds(calibration, perKind(trialShare * tokens, length))
    const validation = await generalWindows('validation', path, model, length)
    return {
      files,
      general: rest,
      importance: ofEachKind(rest, perKind(tokens, length)),
      trial: taken,
      validation: [...ofEachKind(validation, perKind(tokens, length)), ...held],
    }
  } finally {
    model.dispose()
  }
}

/** Windows of a kind that hold `tokens`, at most `mostOfKind`. */
const perKind = (tokens: number, length: number): number =>
  Math.min(mostOfKind, Math.max(1, Math.round(tokens / length)))

/** Largest share of the user's text that is held out; nothing is if the text is too short to be informative. */
const heldShare = 0.1

/** @param most windows to hold out */
export function heldOut(
  windows: readonly Int32Array[],
  most: number,
): { held: KindWindows[]; files: readonly Int32Array[] } {
  const count = Math.min(most, Math.floor(heldShare * windows.length))
  if (count < 2) return { held: [], files: windows }
  const { taken, rest } = splitKinds([{ kind: 'your text', windows }], count)
  return { held: taken.map((kind) => ({ ...kind, apart: true })), files: rest[0].windows }
}

async function fileWindows(
  model: LlamaModel,
  { data, length, onWarning }: TextOptions,
): Promise<Int32Array[]> {
  const texts = await readDocuments(data)
  for (const warning of textWarnings(texts)) onWarning?.(warning)
  const documents: Int32Array[] = []
  for (const { text } of texts) documents.push(await model.tokenizeAsync(text))
  const windows = cutWindows(documents, length, model)
  if (windows.length === 0)
    throw new UsageError(
      `the text of --data is shorter than a window of ${length} tokens; give more text or a smaller --context`,
    )
  return windows
}

/** Windows of each source of text. */
interface Counts {
  readonly files: number
  readonly general: number
  readonly selfWritten: number
}

/**
 * They depend only on the options and the text to read, not on the cache. If there is less general text than its share, the rest comes
 * from the files, or else from self-written text; files with less than their share are not supplemented.
 */
export function countsOf(read: Pick<ReadText, 'files' | 'general'>, options: TextOptions): Counts {
  const wanted = Math.ceil(options.tokens / options.length)
  const shares = sharesOf(options)
  const own = Math.round(shares.selfWritten * wanted)
  const files = Math.min(wanted - own, Math.round(shares.files * wanted))
  const general = wanted - own - files
  const there = read.general.reduce((sum, { windows }) => sum + windows.length, 0)
  const missing = Math.max(0, general - there)
  const selfWritten = own + (shares.files > 0 || shares.selfWritten === 0 ? 0 : missing)
  const unwritten = Math.max(0, selfWritten - (options.mostWritten ?? selfWritten))
  const instead = shares.general > 0 ? Math.min(unwritten, there - (general - missing)) : 0
  return {
    files: Math.min(read.files.length, files + (shares.files > 0 ? missing : 0)),
    general: general - missing + instead,
    selfWritten: selfWritten - unwritten,
  }
}

/**
 * Writes the text that the model has to write, into the cache, within a time. Returns how many windows were written; if they are fewer than
 * wanted, they are `mostWritten` of the run.
 */
export async function writeWithin(
  path: string,
  options: TextOptions,
  read: ReadText,
  seconds: number,
): Promise<number> {
  const { selfWritten: sequences } = countsOf(read, options)
  if (sequences === 0) return 0
  return (await write(path, options, sequences, performance.now() + 1000 * seconds)).windows.length
}

/** The windows to train on. @throws UsageError for shares that conflict with `data` or each other, or without any text */
export async function trainingText(
  path: string,
  options: TextOptions,
  read: ReadText,
): Promise<{ windows: Int32Array[] } & TextReport> {
  const { length } = options
  const counts = countsOf(read, options)
  const files = spread(read.files, counts.files)
  const general = inTurns(read.general, counts.general)
  const written = counts.selfWritten > 0 ? await write(path, options, counts.selfWritten) : none
  const windows = [...general, ...files, ...written.windows]
  if (windows.length === 0) throw new UsageError('there is no text to train on; give more --tokens')
  return {
    windows,
    fileTokens: files.length * length,
    generalTokens: general.length * length,
    selfWrittenTokens: written.windows.length * length,
    distinct4: distinct(windows, 4),
    cacheBytes: written.bytes,
  }
}

const none = { windows: [], bytes: 0 }

async function write(
  path: string,
  { length, seed, fingerprint, memory, onProgress, onWarning, signal }: TextOptions,
  sequences: number,
  until?: number,
): Promise<{ windows: Int32Array[]; bytes: number }> {
  const model = await LlamaModel.load(path, { vocabOnly: true })
  try {
    const windows = await selfWritten(path, model, {
      sequences,
      length,
      seed,
      fingerprint,
      ...(until !== undefined && { until }),
      ...(memory !== undefined && { memory }),
      ...(onProgress && { onProgress }),
      ...(onWarning && { onWarning }),
      ...(signal && { signal }),
    })
    return { windows, bytes: selfWrittenBytes(model, { sequences, length }).text }
  } finally {
    model.dispose()
  }
}

/** @throws UsageError for shares that conflict with `data`, QuenchError if writing takes more than `memory` */
export async function writingOf(path: string, options: TextOptions, read: ReadText): Promise<Writing> {
  const nothing = { tokens: 0, text: 0, copy: 0 }
  const { selfWritten: sequences } = countsOf(read, options)
  if (sequences === 0) return nothing
  const { length, seed, fingerprint, memory } = options
  const model = await LlamaModel.load(path, { vocabOnly: true })
  try {
    const text = { sequences, length, seed, fingerprint }
    if (await isWritten(path, model, text)) return nothing
    checkWritingMemory(model, memory)
    return { tokens: sequences * length, ...selfWrittenBytes(model, text) }
  } finally {
    model.dispose()
  }
}

/** Shares of the tokens; their sum is 1. */
function sharesOf({
  data,
  selfWritten,
  general,
}: Pick<TextOptions, 'data' | 'selfWritten' | 'general'>): Counts {
  const check = (option: string, share: number | undefined): void => {
    if (share !== undefined && !(share >= 0 && share <= 1))
      throw new UsageError(`${option} ${share} is not from 0 to 1`)
  }
  check('--self-written', selfWritten)
  check('--general', general)
  const files = data.length > 0
  const own =
    selfWritten ?? (files || general !== undefined ? (files ? 0 : 1 - (general ?? 0)) : defaults.selfWritten)
  const rest = 1 - own
  const common = general ?? (files ? rest / 2 : rest)
  if (own + common > 1)
    throw new UsageError(`--self-written ${own} and --general ${common} are more than the whole text`)
  const left = 1 - own - common
  if (files && left < 1e-9)
    throw new UsageError(
      `--self-written ${own} and --general ${common} leave nothing to be read of --data; leave one of them out`,
    )
  if (!files && left > 1e-9)
    throw new UsageError(
      `--self-written ${own} and --general ${common} need text for the rest; name it with --data`,
    )
  return { files: files ? left : 0, general: common, selfWritten: own }
}

/** Share of distinct sequences of `n` tokens within a window, mean over windows. */
function distinct(windows: readonly Int32Array[], n: number): number {
  const shares = windows.map((window) => {
    const count = window.length - n + 1
    return new Set(Array.from({ length: count }, (_, i) => window.subarray(i, i + n).join())).size / count
  })
  return shares.reduce((a, b) => a + b, 0) / shares.length
}
