/** Quantizes to a size: a type for every tensor, so that the file is no larger than asked for and loses little (search.ts). */
import { type Release, withCleanup } from '../cleanup.js'
import { versionsInUse } from '../compare/compare.js'
import { makeStoreFolder, Store, storeOutput } from '../compare/store.js'
import { FileError, UsageError } from '../errors.js'
import { sideBySide } from '../evaluate/side-by-side.js'
import { padded } from '../gguf/header.js'
import { type Gguf, ggmlTypes, openGguf } from '../gguf/index.js'
import { summarizeFile } from '../gguf/summary.js'
import { contentHash } from '../hashes.js'
import type { ProgressEvent } from '../notices.js'
import { aboveZero, checkNumbers, checkOptionNames, threadRange, whole } from '../option-checks.js'
import { checkOutputs, withOutputs } from '../outputs.js'
import { originsOf, Provenance } from '../provenance/provenance.js'
import { readImportanceOf } from '../quantize/imatrix/of-model.js'
import type { QuantizeMethod } from '../quantize/methods.js'
import { searchesCodes } from '../quantize/options.js'
import { writtenSize } from '../quantize/own-plan.js'
import { checkUsable } from '../quantize/plan.js'
import { bytesIn } from '../quantize/size.js'
import { checkFreeSpace } from '../reserve.js'
import { thisMachine } from '../speed/index.js'
import { type RoundedType, typeErrors } from './errors.js'
import { type Assignment, Measurer } from './measure.js'
import { type Found, searchTypes } from './search.js'
import { checkNeeded, leastOver, tooSmall } from './target.js'
import { measuringText } from './text.js'

export interface AllocateOptions {
  /** The size of the file in bytes at most. */
  readonly targetBytes?: number
  /** Instead: bits of tensor data per weight at most, over all tensors. */
  readonly targetBits?: number
  /** A file with an importance matrix; without one, types that need it are left out. */
  readonly imatrix?: string
  /** How weights are rounded, as in `quantizeFile`. */
  readonly method?: QuantizeMethod
  /** Whether to take only types that `train` can train, so that it can start from the file's types. */
  readonly trainable?: boolean
  /** Text on which candidates are measured: files and folders. Default: text of five kinds that ships with quench. */
  readonly data?: readonly string[]
  /** Tokens of that text, about. Default 8,192. */
  readonly tokens?: number
  /** Tokens per window. Default 512, or the model's context if that is smaller. */
  readonly context?: number
  /** Whole candidates that are measured at most. Default 64. */
  readonly candidates?: number
  /** Search, but write nothing. */
  readonly dryRun?: boolean
  readonly threads?: number
  /** The database of measurements. Default: in the user's cache folder. */
  readonly store?: string
  readonly onProgress?: (event: AllocateEvent) => void
}

/** Progress in tensors, probes, candidates and bytes. */
export interface AllocateEvent extends ProgressEvent {
  readonly stage: 'errors' | 'sensitivities' | 'candidates' | 'quantize'
}

/** The type that a tensor got, and why. */
export interface AllocatedTensor {
  readonly name: string
  readonly type: string
  readonly bitsPerWeight: number
  /** Squared error of its weights, weighted by importance, as a share. */
  readonly error: number
  /** Estimated KL divergence if this tensor alone were rounded so, in nats per token. */
  readonly alone: number
  /** The type that the estimates alone would have given it. */
  readonly estimated: string
}

export interface Allocation {
  /** The file; with `dryRun` it was not written. */
  readonly path: string
  readonly bytes: number
  readonly bitsPerWeight: number
  /** On the text of the search, in nats per token: of the types by estimates alone, and of those that were taken. */
  readonly firstKld: number
  readonly kld: number
  /** Whole candidates that were run, and tensors of which one alone was rounded; figures of earlier runs are not counted. */
  readonly measured: number
  readonly probed: number
  readonly tensors: readonly AllocatedTensor[]
  readonly warnings: readonly string[]
}

const defaults = { tokens: 8192, context: 512, candidates: 64 } as const

/**
 * Writes `output` with a type for every tensor. Interrupted, it continues from the measurements in the store.
 * @throws UsageError if the target is smaller than the smallest types; FileError for an input that cannot be used
 */
export async function quantizeToSize(
  input: string,
  output: string,
  options: AllocateOptions,
): Promise<Allocation> {
  const { targetBytes, targetBits, imatrix, data = [] } = options
  checkOptionNames(options, {
    ...({ targetBytes: true, targetBits: true, imatrix: true, method: true, trainable: true } as const),
    ...({ data: true, tokens: true, context: true, candidates: true, dryRun: true } as const),
    ...({ threads: true, store: true, onProgress: true } as const),
  })
  if ((targetBytes === undefined) === (targetBits === undefined))
    throw new UsageError('give either a size or bits per weight as the target')
  checkNumbers(options, {
    ...{ targetBytes: aboveZero, targetBits: aboveZero, threads: threadRange },
    ...{ tokens: whole(64), context: whole(8), candidates: whole(1) },
  })
  const files = {
    writes: [{ path: output, by: 'the output' }, storeOutput(options.store)],
    reads: [
      { path: input, by: 'the input' },
      ...(imatrix === undefined ? [] : [{ path: imatrix, by: '--imatrix' }]),
      ...data.map((path) => ({ path, by: '--data' })),
    ],
  }
  await checkOutputs(files)
  makeStoreFolder(options.store)
  return withOutputs(files, () =>
    withCleanup(async (defer) => {
      const gguf = await openGguf(input)
      defer(() => gguf.close())
      return Store.with(options.store, (database) => allocate(gguf, output, options, database, defer))
    }),
  )
}

async function allocate(
  gguf: Gguf,
  output: string,
  options: AllocateOptions,
  store: Store,
  defer: (release: Release) => void,
): Promise<Allocation> {
  const { tokens = defaults.tokens, candidates = defaults.candidates, data = [] } = options
  const { threads, method, dryRun, onProgress } = options
  const { quantized, type, parameters } = await checkUsable(gguf)
  if (quantized)
    throw new FileError(gguf.path, `it is quantized already (${type}); take the full-precision file`)
  await checkNeeded(gguf, parameters, options)
  const context = options.context ?? contextOf(gguf)
  const matrix = options.imatrix === undefined ? undefined : await readImportanceOf(gguf, options.imatrix)
  const importance = matrix?.importance ?? new Map<string, Float32Array>()
  const errors = await typeErrors(gguf, {
    ...{ importance, threads, trainable: options.trainable ?? false },
    onProgress: (done, total) => onProgress?.({ stage: 'errors', done, total }),
  })
  const { targetBytes, targetBits } = options
  const provenance = new Provenance({
    command: 'quantize',
    options: { targetBytes, targetBits, method, tokens, context, candidates, trainable: options.trainable },
    origins: originsOf(gguf.files, options.imatrix),
    input: gguf.metadata,
  })
  if (!dryRun) provenance.begin()
  defer(() => provenance.stop())
  const { cpu, cores } = thisMachine()
  const documents = await measuringText(gguf.path, data, tokens, context)
  const measurer = new Measurer(store, {
    ...{ gguf, output, importance, documents, context, maxTokens: tokens, threads },
    ...{ added: matrix?.metadata ?? new Map(), provenance, search: searchesCodes(method) },
    identity: {
      model: await store.hashOf(gguf.path),
      imatrix: options.imatrix === undefined ? null : await store.hashOfFile(options.imatrix),
      method: method ?? null,
      text: contentHash(documents instanceof Int32Array ? [...documents] : documents),
      ...{ tokens, context, threads: threads ?? null, machine: { cpu, cores }, versions: versionsInUse() },
    },
  })
  defer(() => measurer.dispose())
  await checkFreeSpace(output, sideBySide * gguf.tensors.reduce((sum, { bytes }) => sum + bytes, 0))
  const budget = budgetOf(gguf, options, parameters, errors, measurer)
  const found = await searchTypes({
    ...{ errors, candidates, ...budget },
    klds: (types, stage) => measurer.klds(types, stage),
    onProgress: (stage, done, total) => onProgress?.({ stage, done, total }),
  })
  if (!found) throw new UsageError(tooSmall(options, parameters, leastOver(errors, budget)))
  const bytes = sizeOf(gguf, measurer, found.types)
  if (!dryRun)
    await measurer.finish(found.types, (done) => onProgress?.({ stage: 'quantize', done, total: bytes }))
  return {
    ...{ path: output, bytes: dryRun ? bytes : (await summarizeFile(output)).bytes },
    bitsPerWeight: (8 * dataBytes(gguf, found.types)) / parameters,
    ...{ firstKld: found.first.kld, kld: found.kld },
    ...{ measured: measurer.measured.candidates, probed: measurer.measured.sensitivities },
    tensors: describe(errors, found),
    warnings: matrix?.warnings ?? [],
  }
}

/** Tokens of a window: those of the model where it has no more. */
function contextOf({ metadata }: Gguf): number {
  const architecture = metadata.string('general.architecture')
  return Math.min(defaults.context, metadata.number(`${architecture}.context_length`, defaults.context))
}

/** What the matrices with a choice may take together, and how it is counted. */
function budgetOf(
  gguf: Gguf,
  { targetBytes, targetBits }: AllocateOptions,
  parameters: number,
  errors: ReadonlyMap<string, readonly RoundedType[]>,
  measurer: Measurer,
): { budget: number; cost: (bytes: number) => number } {
  const unchanged = new Map(Array.from(errors.keys(), (name) => [name, gguf.tensor(name).type]))
  const chosen = (of: (bytes: number) => number): number =>
    Array.from(errors.keys()).reduce((sum, name) => sum + of(gguf.tensor(name).bytes), 0)
  if (targetBits !== undefined) {
    const others = dataBytes(gguf, unchanged) - chosen((bytes) => bytes)
    return { budget: Math.floor((targetBits * parameters) / 8) - others, cost: (bytes) => bytes }
  }
  // In a file every tensor is padded; header and other tensors are the same whatever the types.
  const cost = (bytes: number): number => padded(bytes, gguf.alignment)
  const others = sizeOf(gguf, measurer, unchanged) - chosen(cost)
  return { budget: (targetBytes as number) - others, cost }
}

/** Bytes of the file of these types. */
function sizeOf(gguf: Gguf, measurer: Measurer, types: Assignment): number {
  const planned = gguf.tensors.map((source) => {
    const { name, type } = source
    return { name, source, type: types.get(name) ?? type }
  })
  return writtenSize(gguf, planned, measurer.metadata(types))
}

/** Bytes of all tensors. */
function dataBytes(gguf: Gguf, types: Assignment): number {
  return gguf.tensors.reduce((sum, source) => {
    const { name, type } = source
    return sum + bytesIn(gguf, { name, source, type: types.get(name) ?? type })
  }, 0)
}

function describe(
  errors: ReadonlyMap<string, readonly RoundedType[]>,
  { types, sensitivities, first }: Found,
): AllocatedTensor[] {
  const nameOf = (type: number | undefined): string => ggmlTypes.get(type ?? -1)?.name ?? String(type)
  return Array.from(errors, ([name, choices]) => {
    const { type, bitsPerWeight, error } = choices.find(
      (choice) => choice.type === types.get(name),
    ) as RoundedType
    return {
      ...{ name, type: nameOf(type), bitsPerWeight, error },
      alone: (sensitivities.get(name) ?? 0) * error,
      estimated: nameOf(first.types.get(name)),
    }
  })
}
