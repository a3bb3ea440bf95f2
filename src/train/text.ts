/** The windows that a run trains and validates on: the user's text, text that the model writes itself, or a share of each. */

import { checkWritingMemory, isWritten, selfWritten, selfWrittenBytes } from '../data/self-written.js'
import { readDocuments, textWarnings } from '../data/texts.js'
import { cutWindows, holdOut, type Split, spread } from '../data/windows.js'
import { UsageError } from '../errors.js'
import { LlamaModel } from '../llama/index.js'

export interface TextOptions {
  /** Files and folders. */
  readonly data: readonly string[]
  /** Share of the tokens that the model writes itself, from 0 to 1. Default: 0 with files, 1 without. */
  readonly selfWritten?: number
  /** Most training tokens to read and to write. */
  readonly tokens: number
  /** Tokens of a window. */
  readonly length: number
  /** Windows held out for validation. */
  readonly validation: number
  readonly seed: number
  readonly fingerprint: string
  /** Bytes that the process may take while the model writes. Default: any. */
  readonly memory?: number
  readonly onProgress?: (tokens: number, total: number) => void
  readonly onWarning?: (warning: string) => void
  readonly signal?: AbortSignal
}

/** What a text consists of; tokens include those held out. */
export interface TextReport {
  readonly text: 'self-written' | 'files' | 'mixed'
  readonly fileTokens: number
  readonly selfWrittenTokens: number
  /** Different sequences of four tokens within a window, as a share of all; low where text repeats itself. */
  readonly distinct4: number
  /** Bytes of the cache of what was written. */
  readonly cacheBytes: number
}

/** Windows of the files in `data`; none where the model writes all of the text. @throws UsageError for a share that does not go with `data` */
export async function fileWindows(path: string, options: TextOptions): Promise<Int32Array[]> {
  if (shareOf(options) === 1) return []
  const model = await LlamaModel.load(path, { vocabOnly: true })
  try {
    const texts = await readDocuments(options.data)
    for (const warning of textWarnings(texts)) options.onWarning?.(warning)
    const documents: Int32Array[] = []
    for (const { text } of texts) documents.push(await model.tokenizeAsync(text))
    return cutWindows(documents, options.length, model)
  } finally {
    model.dispose()
  }
}

/** How many windows a text has, known before the model writes its share: whether that is in the cache makes no difference. */
export function textSizes(
  files: readonly Int32Array[],
  options: TextOptions,
): { train: number; validation: number } {
  const { windows, held } = sequencesOf(shareOf(options), options)
  const { train, validation } = splitFiles(files, options)
  return { train: train.length + windows, validation: validation.length + held }
}

/**
 * Windows to train on and held-out ones, of both kinds in the same shares, which depend on the options alone. Files that
 * hold less than their share are not made up for.
 * @param files the windows of the files, where they have been read already
 * @throws UsageError for a share that does not go with `data`, and for too little text
 */
export async function trainingText(
  path: string,
  options: TextOptions,
  files?: readonly Int32Array[],
): Promise<Split & TextReport> {
  const { length } = options
  const read = splitFiles(files ?? (await fileWindows(path, options)), options)
  const fileTokens = (read.train.length + read.validation.length) * length
  const { windows, held } = sequencesOf(shareOf(options), options)
  if (windows === 0) return { ...read, ...reportOf(read, fileTokens, 0, 0) }
  const sequences = windows + held
  const model = await LlamaModel.load(path, { vocabOnly: true })
  try {
    const written = await selfWritten(path, model, {
      sequences,
      length,
      seed: options.seed,
      fingerprint: options.fingerprint,
      ...(options.memory !== undefined && { memory: options.memory }),
      ...(options.onProgress && { onProgress: options.onProgress }),
      ...(options.onWarning && { onWarning: options.onWarning }),
      ...(options.signal && { signal: options.signal }),
    })
    const own = held === 0 ? { train: written, validation: [] } : holdOut(written, held)
    const split = {
      train: [...read.train, ...own.train],
      validation: [...read.validation, ...own.validation],
    }
    const { text } = selfWrittenBytes(model, { sequences, length })
    return { ...split, ...reportOf(split, fileTokens, written.length * length, text) }
  } finally {
    model.dispose()
  }
}

/** What a run takes of the windows of files. */
function splitFiles(files: readonly Int32Array[], options: TextOptions): Split {
  const share = shareOf(options)
  if (share === 1) return { train: [], validation: [] }
  const { windows, held } = sequencesOf(share, options)
  const { train, validation } = holdOut(files, options.validation - held)
  return { train: spread(train, Math.ceil(options.tokens / options.length) - windows), validation }
}

/** What is to be written of a text before a run can start. */
export interface Writing {
  /** Tokens; 0 where the text is in the cache already, or all of it is read. */
  readonly tokens: number
  /** Bytes on disk, in the cache folder, that the text takes, and a copy of the model that is there only while it is written. */
  readonly text: number
  readonly copy: number
}

/** @throws UsageError for a share that does not go with `data`, QuenchError if writing takes more than `memory` */
export async function writingOf(path: string, options: TextOptions): Promise<Writing> {
  const share = shareOf(options)
  const none = { tokens: 0, text: 0, copy: 0 }
  if (share === 0) return none
  const { length, seed, fingerprint, memory } = options
  const model = await LlamaModel.load(path, { vocabOnly: true })
  try {
    const { windows, held } = sequencesOf(share, options)
    const sequences = windows + held
    const text = { sequences, length, seed, fingerprint }
    if (await isWritten(path, model, text)) return none
    checkWritingMemory(model, memory)
    return { tokens: sequences * length, ...selfWrittenBytes(model, text) }
  } finally {
    model.dispose()
  }
}

/**
 * Sequences that the model writes: to train on, and to hold out. As of text that is read, those are a fifth of them at most
 * (`holdOut`), so that exactly so many as were asked for are left to train on.
 */
function sequencesOf(
  share: number,
  { tokens, length, validation }: Pick<TextOptions, 'tokens' | 'length' | 'validation'>,
): { windows: number; held: number } {
  const wanted = Math.ceil(tokens / length)
  const windows = share === 1 ? wanted : Math.min(wanted - 1, Math.round(share * wanted))
  if (windows === 0) return { windows: 0, held: 0 }
  const held = share === 1 ? validation : Math.round(share * validation)
  return { windows, held: Math.min(held, Math.max(1, Math.floor(windows / 4))) }
}

function shareOf({ data, selfWritten }: Pick<TextOptions, 'data' | 'selfWritten'>): number {
  const share = selfWritten ?? (data.length > 0 ? 0 : 1)
  if (!(share >= 0 && share <= 1)) throw new UsageError(`--self-written ${share} is not from 0 to 1`)
  if (data.length === 0 && share < 1)
    throw new UsageError(`--self-written ${share} needs text for the rest; name it with --data`)
  if (data.length > 0 && share === 1)
    throw new UsageError('--self-written 1 leaves nothing to be read of --data; leave one of them out')
  return share
}

function reportOf(
  { train, validation }: Split,
  fileTokens: number,
  selfWrittenTokens: number,
  cacheBytes: number,
): TextReport {
  const text = fileTokens === 0 ? 'self-written' : selfWrittenTokens === 0 ? 'files' : 'mixed'
  const distinct4 = distinct([...train, ...validation], 4)
  return { text, fileTokens, selfWrittenTokens, distinct4, cacheBytes }
}

/** Share of different sequences of `n` tokens within a window, mean over windows. */
function distinct(windows: readonly Int32Array[], n: number): number {
  const shares = windows.map((window) => {
    const count = window.length - n + 1
    return new Set(Array.from({ length: count }, (_, i) => window.subarray(i, i + n).join())).size / count
  })
  return shares.reduce((a, b) => a + b, 0) / shares.length
}
