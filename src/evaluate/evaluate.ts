/**
 * Perplexity, KL divergence and related metrics of GGUF files against a reference, as run by libllama.
 *
 * All files run interleaved, window by window, so that the reference runs once. There may be two references. The `reference`
 * is the file's own full precision; the divergence from it is the loss of the conversion. The `original` is the model before
 * quantization-aware training; the divergence from it is the loss of the whole method. run.ts decodes and scores,
 * divergence-statistics.ts adds up.
 */

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { withCleanup } from '../cleanup.js'
import { type Document, textWarnings } from '../data/texts.js'
import { UsageError } from '../errors.js'
import { fileHash } from '../hashes.js'
import { type LlamaContext, LlamaModel, tryEarly } from '../llama/index.js'
import { checkNumbers, checkOptionNames, threadRange, whole } from '../option-checks.js'
import { withOutputs } from '../outputs.js'
import { type Evaluation, report } from './evaluation.js'
import { type ComparableFile, openComparable } from './files.js'
import { type ModelOptions, modelOptions } from './models.js'
import { isSavedReference, ReferenceWriter, relativePath, SavedReference } from './references/index.js'
import { run } from './run.js'
import { byteCounter, windowContext } from './window-context.js'
import { cutEvaluation, documentsOf, type EvaluationText, type Windows } from './windows.js'

export interface EvaluateOptions extends ModelOptions {
  /** The full-precision file that the others are compared with, or a file written by `saveReference`. */
  readonly reference: string
  /** The model before training, as a second reference. */
  readonly original?: string
  readonly files: readonly string[]
  /** Held-out text, or its tokens. */
  readonly text: EvaluationText
  /** Tokens per window, at least 8. Default 512. */
  readonly context?: number
  /** Limit of tokens of the text. Default: all. */
  readonly maxTokens?: number
  /** File to save the reference's predictions to, for use as `reference` of a later evaluation. */
  readonly saveReference?: string
}

/** @throws FileError for a file that cannot be loaded or compared, UsageError for a text that is too short */
export async function evaluateFiles(options: EvaluateOptions): Promise<Evaluation> {
  const { text, context = 512, maxTokens } = options
  checkOptionNames(options, {
    ...modelOptions,
    reference: true,
    original: true,
    files: true,
    text: true,
    context: true,
    maxTokens: true,
    saveReference: true,
  })
  checkNumbers(options, { maxTokens: whole(1) })
  checkText(text)
  const evaluation = await evaluateWindows(options, (model) => cutEvaluation(model, text, context, maxTokens))
  return { ...evaluation, warnings: [...textWarnings(documentsOf(text)), ...evaluation.warnings] }
}

/** @throws UsageError for the name of a file or folder as text */
export function checkText(text: EvaluationText): void {
  const path = text instanceof Int32Array ? undefined : [text].flat().find(isPath)
  if (path !== undefined)
    throw new UsageError(
      `text is to be the text itself, and ${path} is a file or folder; read it with readTexts(['${path}'])`,
    )
}

const longestPath = 1000
const isPath = (text: string | Document): text is string =>
  typeof text === 'string' &&
  text.length <= longestPath &&
  !text.includes('\n') &&
  text !== '' &&
  existsSync(text)

/** Like `evaluateFiles`, with other windows. @param cut makes them with the tokenizer of all files */
export async function evaluateWindows(
  options: Omit<EvaluateOptions, 'text' | 'maxTokens'>,
  cut: (model: LlamaModel) => Promise<Windows>,
): Promise<Evaluation> {
  const { saveReference, reference, original, files } = options
  if (saveReference === undefined) return evaluateModels(options, cut)
  const models = [reference, ...(original === undefined ? [] : [original]), ...files]
  return withOutputs(
    {
      writes: [{ path: saveReference, by: '--save-reference' }],
      reads: models.map((path) => ({ path, by: 'a model' })),
    },
    () => evaluateModels(options, cut),
  )
}

async function evaluateModels(
  options: Omit<EvaluateOptions, 'text' | 'maxTokens'>,
  cut: (model: LlamaModel) => Promise<Windows>,
): Promise<Evaluation> {
  const { reference, original, files, saveReference, kvTypes = ['f16'], gpuLayers = 0, threads } = options
  checkNumbers(options, { threads: threadRange, gpuLayers: whole(-1) })
  return withCleanup(async (defer) => {
    const saved = (await isSavedReference(reference)) ? await SavedReference.open(reference) : undefined
    if (saved) defer(() => saved.close())
    if (saved && (original !== undefined || saveReference !== undefined))
      throw new UsageError(
        `${reference} is a saved reference, which goes with neither --original nor --save-reference; give the model instead`,
      )
    const live = saved ? [] : [reference, ...(original === undefined ? [] : [original])]
    if (live.length + files.length === 0 || (saved && files.length === 0))
      throw new UsageError('name at least one file to evaluate')
    tryEarly([...live, ...files], 'run')
    const facts = await openComparable([...live, ...files])

    const load = async (path: string): Promise<LlamaModel> => {
      const model = await LlamaModel.load(path, { gpuLayers })
      defer(() => model.dispose())
      return model
    }
    const first = await load(facts[0].path)
    const windows = await cut(first)
    const context = windows.longest
    const create = async (model: LlamaModel, kvType: string): Promise<LlamaContext> => {
      const made = await windowContext(model, windows, kvType, threads)
      defer(() => made.dispose())
      return made
    }
    const bases: LlamaContext[] = []
    const contexts: LlamaContext[] = []
    for (const [i, { path }] of facts.entries()) {
      const model = i === 0 ? first : await load(path)
      if (i < live.length) bases.push(await create(model, 'f16'))
      else for (const kvType of kvTypes) contexts.push(await create(model, kvType))
    }

    const settings =
      saved || saveReference !== undefined ? await savedSettings(facts[0], windows, context) : undefined
    if (saved && settings) saved.check(settings)
    let writer: ReferenceWriter | undefined
    if (saveReference !== undefined && settings) {
      writer = await ReferenceWriter.create(saveReference, {
        model: await modelFacts(saveReference, facts[0]),
        ...settings,
      })
      const made = writer
      defer(() => made.discard())
    }
    const result = await run({
      ...options,
      bases: saved ?? bases,
      files: contexts,
      windows,
      bytesOf: byteCounter(first),
      ...(writer && { save: writer }),
    })
    await writer?.finish()
    return report({
      facts,
      saved,
      live: live.length,
      kvTypes,
      context,
      windows,
      result,
      trainContext: first.trainContext,
    })
  })
}

async function savedSettings(file: ComparableFile, windows: Windows, context: number) {
  const hash = createHash('sha256')
  for (let i = 0; i < windows.count; i++) {
    if (i % 64 === 0) await setImmediate()
    const { tokens } = windows.at(i)
    hash.update(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength))
  }
  return {
    tokenizer: file.tokenizer,
    vocabulary: file.vocabulary,
    text: hash.digest('hex'),
    context,
    windows: windows.count,
    rows: windows.scored,
  }
}

async function modelFacts(saved: string, { path, type, bytes, bitsPerWeight, quantized }: ComparableFile) {
  return {
    path: relativePath(saved, path),
    sha256: await fileHash(path),
    type,
    bytes,
    bitsPerWeight,
    quantized,
  }
}
