/**
 * `quench compare`: makes missing files (PTQ ladder, trained files), measures every file, and decides.
 *
 *   hash -> make -> evaluate against the reference -> speed, interleaved -> tensors -> continuations -> judge -> verdict
 *
 * Every measurement is stored under a key of its inputs' contents, so a comparison that was interrupted, or is given one more
 * file, measures only the rest.
 */

import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { ownTextWarning, writeDocuments } from '../data/own-text.js'
import { type Document, readDocuments, textWarnings } from '../data/texts.js'
import { FileError, UsageError } from '../errors.js'
import { type EvaluatedFile, perplexityWarnings } from '../evaluate/index.js'
import { inspectFile } from '../gguf/inspect.js'
import { contradiction } from '../gguf/summary.js'
import { aboveZero, checkNumbers, checkOptionNames, threadRange, whole } from '../option-checks.js'
import { checkOutputs, type Files, type Output, withOutputs } from '../outputs.js'
import {
  type FileSpeed,
  measuringMachine,
  type Round,
  speedTests,
  summarizeRounds,
  thisMachine,
} from '../speed/index.js'
import { threadsForModel } from '../threads.js'
import type { ComparedFile, CompareOptions, Comparison } from './comparison.js'
import { choosePrompts } from './continuations.js'
import type { Running } from './evaluations.js'
import { neededBytes, partsOf } from './figures.js'
import { type Candidate, judge } from './judge.js'
import { type Entry, madeFiles, makeFiles } from './make.js'
import { type Measured, measureAll } from './measure.js'
import { makeStoreFolder, Store, storeOutput } from './store.js'
import { verdict } from './verdict.js'

/** llama.cpp's. */
const defaultKvType = 'f16'
const promptTokens = 24
const continuationTokens = 48
const conversationTokens = 4096

/** The files that a comparison writes and reads. */
export function comparisonFiles(options: CompareOptions): Files & { store: Output } {
  const { model, files = [], data = [], folder, types, train = [], training } = options
  const { imatrix = 'auto', original } = options
  const store = storeOutput(options.store)
  const named = (by: string, paths: readonly string[]) => paths.map((path) => ({ path, by }))
  return {
    store,
    writes: [store, ...madeFiles({ model, folder, types, imatrix, train })],
    reads: [
      ...named('the model', [model]),
      ...named('--original', original === undefined ? [] : [original]),
      ...named('a file to compare', files),
      ...named('--data', data),
      ...named('--train-data', training?.data ?? []),
      ...named('--imatrix', imatrix === 'auto' || imatrix === 'none' ? [] : [imatrix]),
    ],
  }
}

/** @throws QuenchError if nothing remains to compare; FileError for a model or text that cannot be read */
export async function compare(options: CompareOptions): Promise<Comparison> {
  checkOptionNames(options, {
    model: true,
    original: true,
    files: true,
    types: true,
    imatrix: true,
    train: true,
    data: true,
    tokens: true,
    context: true,
    folder: true,
    training: true,
    repetitions: true,
    prompt: true,
    generate: true,
    depth: true,
    threads: true,
    gpuLayers: true,
    kvType: true,
    memoryBytes: true,
    continuations: true,
    store: true,
    onProgress: true,
    onWarning: true,
  })
  checkNumbers(options, {
    tokens: whole(1),
    context: whole(1),
    repetitions: whole(0),
    threads: threadRange,
    gpuLayers: whole(-1),
    memoryBytes: aboveZero,
    continuations: whole(0),
  })
  const files = comparisonFiles(options)
  await checkOutputs(files)
  makeStoreFolder(options.store)
  return withOutputs(files, () => Store.with(options.store, (store) => run(store, options)))
}

async function run(store: Store, options: CompareOptions): Promise<Comparison> {
  const { model, files = [], data = [], context = 512, repetitions = 5, onProgress } = options
  const running = runningOf(options)
  const { types, imatrix = 'auto', train = [] } = options
  if (files.length + train.length === 0 && types?.length === 0)
    throw new UsageError('there is nothing to compare; name --types to make, --train, or files')
  const versions = versionsInUse()
  const facts = await inspectFile(model)
  if (facts.quantized && (types?.length !== 0 || train.length > 0))
    throw new FileError(
      model,
      `it is quantized already (${facts.type}), and the first file is what others are made from and measured against; name the full-precision file first, or make none with --types none`,
    )
  onProgress?.({ stage: 'hash', done: 0, total: 1 })
  const reference = { path: model, hash: await store.hashOf(model) }
  const original = await originalOf(store, options)
  const documents = data.length > 0 ? await readDocuments(data) : await ownDocuments(options)
  const { entries, failures, warnings } = await makeFiles(store, {
    model,
    modelHash: reference.hash,
    types,
    imatrix,
    train,
    files,
    folder: options.folder,
    training: options.training ?? {},
    versions,
    onImportance: (done, total) => onProgress?.({ stage: 'importance', done, total }),
    onQuantize: (name, done, total) => onProgress?.({ stage: 'quantize', name, done, total }),
    onTrain: (type, event) =>
      onProgress?.({ stage: 'train', type, done: event.done, total: event.total, event }),
    onWarning: options.onWarning,
  })

  const tests = repetitions === 0 ? [] : speedTests(options)
  const texts = documents.map(({ text }) => text)
  const measured = await measureAll(store, reference, entries, {
    ...{ documents, context, tests, repetitions, versions, failures, length: continuationTokens },
    running,
    ...(original && { original }),
    ...(options.tokens !== undefined && { maxTokens: options.tokens }),
    prompts: () => choosePrompts(model, texts, { count: options.continuations ?? 4, tokens: promptTokens }),
    onProgress: (stage, done, total) => onProgress?.({ stage, done, total }),
  })

  onProgress?.({ stage: 'judge', done: 0, total: 1 })
  const contextTokens = Math.min(conversationTokens, facts.context ?? conversationTokens)
  const any = measured.files[0].evaluation
  const judged = await judge(measured.files.map(candidateOf), any.reference.windowSums.tokens)
  const threadsUsed = running.threads ?? threadsForModel(facts.parameters)
  const speedOf = (rounds: readonly Round[], file: Sized): FileSpeed | undefined => {
    const { path, type, bytes, bitsPerWeight } = file
    return rounds.length === 0
      ? undefined
      : summarizeRounds(
          { path, type, bytes, bitsPerWeight, threads: threadsUsed },
          tests,
          rounds,
          measured.reference.rounds,
        )
  }
  const compared = measured.files.map(({ file, evaluation, rounds, ...rest }, i): ComparedFile => {
    const { windowSums: _, ...figures } = evaluation.file
    const speed = speedOf(rounds, { ...evaluation.file, path: file.path })
    return {
      ...figures,
      ...judged.judgements[i],
      ...file,
      ...rest,
      neededBytes: neededBytes(figures.bytes, speed, contextTokens),
      ...(speed && { speed }),
      parts: partsOf(evaluation.file),
    }
  })
  const outcome = verdict(
    compared.map((file) => ({ ...file, kld: file.kld.mean, top1: file.top1.mean })),
    judged,
    {
      ...(options.memoryBytes !== undefined && { memoryBytes: options.memoryBytes }),
      ...(tests.length > 0 && { contextTokens }),
    },
  )
  const { windowSums: _, saved: __, ...base } = any.reference
  const modelSpeed = speedOf(measured.reference.rounds, { ...base, path: model })
  return {
    model: {
      ...base,
      path: model,
      name: facts.type,
      hash: reference.hash,
      ...(modelSpeed && { speed: modelSpeed }),
      continuations: measured.reference.continuations,
    },
    ...(original && any.original && { original: { ...any.original, ...original } }),
    files: compared.sort((a, b) => b.bytes - a.bytes || a.kld.mean - b.kld.mean),
    pairs: judged.pairs,
    verdict: outcome,
    failures: measured.failures,
    warnings: [
      ...new Set([
        ...warnings,
        ...[{ ...base, path: model }, ...compared].flatMap((file) => contradiction(file) ?? []),
        ...(data.length > 0 ? [] : [ownTextWarning(documents, model)]),
        ...textWarnings(documents),
        ...any.warnings,
        ...perplexityWarnings({
          reference: { ...base, path: model },
          files: compared,
          vocabulary: facts.vocabulary ?? Number.POSITIVE_INFINITY,
        }),
      ]),
    ],
    prompts: measured.prompts,
    settings: {
      data,
      textHash: textHash(documents),
      context,
      windows: any.windows,
      tokens: any.tokens,
      repetitions,
      ...running,
      threads: running.threads ?? null,
      threadsUsed,
      continuationTokens,
      contextTokens,
      machine: measuringMachine(),
      versions,
    },
    store: { path: store.path, ...store.count() },
  }
}

/** @throws UsageError for the model itself, from which there would be no loss of a method */
async function originalOf(store: Store, { model, original }: CompareOptions) {
  if (original === undefined) return undefined
  const hash = await store.hashOf(original)
  if (hash === (await store.hashOf(model)))
    throw new UsageError(
      `--original ${original} is the model itself; name the model that it was trained from, or leave it out`,
    )
  return { path: original, hash }
}

/** Text that the model writes if none is given. */
const ownDocuments = ({
  model,
  tokens,
  context,
  onProgress,
  onWarning,
}: CompareOptions): Promise<Document[]> =>
  writeDocuments(model, {
    ...(tokens !== undefined && { tokens }),
    ...(context !== undefined && { length: context }),
    ...(onWarning && { onWarning }),
    onProgress: ({ done, total }) => onProgress?.({ stage: 'text', done, total }),
  })

/** How models are run; defaults are omitted. */
function runningOf({ threads, gpuLayers = 0, kvType = defaultKvType }: CompareOptions): Running {
  return {
    ...(threads !== undefined && { threads }),
    ...(gpuLayers !== 0 && { gpuLayers }),
    ...(kvType !== defaultKvType && { kvType }),
  }
}

type Sized = Pick<EvaluatedFile, 'path' | 'type' | 'bytes' | 'bitsPerWeight'>

function candidateOf({ file: { name, method, importance }, evaluation }: Measured<Entry>): Candidate {
  const { type, bytes, bitsPerWeight, windowSums } = evaluation.file
  return { name, method, importance, type, bytes, bitsPerWeight, kld: windowSums.kld }
}

export function versionsInUse(): Record<string, string> {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }
  const build = process.env.QUENCH_LLAMA_PACKAGE
  return { quench: version, llama: thisMachine().llama, ...(build && { llamaPackage: build }) }
}

function textHash(documents: readonly Document[]): string {
  const hash = createHash('sha256')
  for (const { text } of documents) hash.update(text)
  return hash.digest('hex')
}
