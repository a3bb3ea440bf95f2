/**
 * `quench train`: quantization-aware training of a GGUF file.
 *
 *   read the model -> quantize it with the reference quantizer (step 0 is PTQ) -> solve for a better start, matrix by
 *   matrix (compensation.ts) -> train the latents by distillation from the full precision -> validate on held-out text ->
 *   write the codes of the training graph, checked by libggml
 *
 * If validation has not improved, the PTQ weights are written and the report says so. The state is saved every half
 * minute, and a resumed run ends with the same file: the order of windows depends on seed and step alone.
 */
import { stat } from 'node:fs/promises'
import { digest, WindowOrder } from '../data/order.js'
import { QuenchError, UsageError } from '../errors.js'
import { checkWritable } from '../files.js'
import { recipes } from '../formats/recipes.js'
import { Metadata, openGguf } from '../gguf/index.js'
import {
  checkpointExists,
  checkpointPath,
  loadCheckpoint,
  type Progress,
  removeCheckpoint,
  type Settings,
  saveCheckpoint,
} from './checkpoint.js'
import { Distillation, TeacherCache } from './distillation.js'
import { type ExportCheck, exportModel } from './export.js'
import { Network } from './network.js'
import { ParameterPrograms } from './parameter.js'
import { isValidationStep, planSteps, rateAt, warmupOf } from './schedule.js'
import { checkTrainable, makeStudent, openSource, type Source, type Student, targetTypes } from './source.js'
import { trainingText } from './text.js'

export interface TrainOptions {
  /** A full-precision GGUF file (F32, F16 or BF16). */
  readonly input: string
  readonly output: string
  /** A recipe such as `Q4_0` or `Q3_K_M`. */
  readonly type: string
  /** Text files and folders; without them the model writes its own text. */
  readonly data?: readonly string[]
  /** Most distinct training tokens. Default 131,072. */
  readonly tokens?: number
  /** Optimizer steps. Default 300, unless `seconds` is given. */
  readonly steps?: number
  /** Train for about this long: the number of steps is set after the first few were timed. */
  readonly seconds?: number
  /** Go on from the checkpoint beside the output. */
  readonly resume?: boolean
  /** Tokens of a window. Default 128, or the model's context if that is smaller. */
  readonly context?: number
  /** Tokens from which the start is computed; 0 for none. Default 49,152. */
  readonly calibration?: number
  /** Tokens of a step. Default 512. */
  readonly batch?: number
  /** Highest rates, in units of a quantization step (weights) and relative (scales, norms). */
  readonly weightRate?: number
  readonly scaleRate?: number
  readonly seed?: number
  /** Seconds between checkpoints. Default 30. */
  readonly checkpointEvery?: number
  /** Teacher activations kept by window; share one between runs on the same model and text. */
  readonly teacher?: TeacherCache
  readonly onProgress?: (event: TrainEvent) => void
  /** Stops after the current step, with a checkpoint. */
  readonly signal?: AbortSignal
}

/** What a run is doing: `done` of `total`, in tokens, blocks or steps. */
export interface TrainEvent {
  readonly stage: 'write text' | 'calibrate' | 'train'
  readonly done: number
  readonly total: number
  /** Mean KL divergence of the last step, in nats per token. */
  readonly loss?: number
}

export interface TrainReport {
  readonly path: string
  readonly type: string
  readonly bytes: number
  readonly bitsPerWeight: number
  /** What the file holds: trained weights, or those of the reference quantizer because training did not help. */
  readonly written: 'qat' | 'ptq'
  readonly steps: number
  /** Tokens seen in training, counting repetitions, and distinct ones. */
  readonly tokens: number
  readonly distinctTokens: number
  readonly text: 'self-written' | 'files'
  readonly seconds: number
  readonly tokensPerSecond: number
  /** Mean KL divergence on the held-out windows, nats per token, by step; step 0 is PTQ. */
  readonly validation: readonly { step: number; mean: number; se: number }[]
  /** 1 - KL divergence after / before, on the held-out windows. */
  readonly recovered: number
  readonly check: ExportCheck
}

const clip = 1
const floor = 0.02
/** Held-out tokens. */
const validationTokens = 4096

export async function train(options: TrainOptions): Promise<TrainReport> {
  checkTrainable(options.type)
  checkWritable(options.output)
  const source = await openSource(options.input)
  const programs = new ParameterPrograms()
  let network: Network | undefined
  try {
    network = new Network(source.architecture, source.config, batchOf(source, options))
    return await run(source, options, network, programs)
  } finally {
    await network?.dispose()
    await programs.dispose()
    await source.gguf.close()
  }
}

async function run(
  source: Source,
  options: TrainOptions,
  network: Network,
  programs: ParameterPrograms,
): Promise<TrainReport> {
  const { output, seed = 1, resume = false, tokens = 131_072 } = options
  const types = targetTypes(source, options.type)
  if (!resume && (await checkpointExists(output)))
    throw new UsageError(
      `${checkpointPath(output)} is left of a run that did not end; add --resume to go on, or delete it to start anew`,
    )
  const { windows: windowsPerStep, length } = network.batch
  const text = await trainingText(options.input, {
    data: options.data ?? [],
    tokens,
    length,
    validation: roundUp(Math.ceil(validationTokens / length), windowsPerStep),
    seed,
    fingerprint: source.fingerprint,
    onProgress: (done, total) => options.onProgress?.({ stage: 'write text', done, total }),
    ...(options.signal && { signal: options.signal }),
  })
  const validation = wholeBatches(text.validation, windowsPerStep)
  const student = await makeStudent(source, types)
  const distillation = new Distillation(
    network,
    source.weights,
    options.teacher ?? new TeacherCache(256 << 20),
    student.parameters,
    programs,
    student.frozen,
  )
  const rates = { weightRate: options.weightRate ?? 0.003, scaleRate: options.scaleRate ?? 0.0005 }
  const settings: Settings = {
    model: source.fingerprint,
    type: options.type,
    text: digest([...text.train, ...text.validation]),
    tokens,
    steps: options.steps ?? null,
    seconds: options.seconds ?? null,
    context: length,
    batch: network.tokens,
    calibration: options.calibration ?? 49_152,
    seed,
    ...rates,
  }
  const progress = await start(output, student, settings, options)
  const state = {
    output,
    student,
    settings,
    progress,
    source,
    types,
    programs,
    validation,
    windows: text.train,
  }
  await loop(distillation, state, options, rates)
  return finish(state, distillation, options)
}

interface State {
  readonly output: string
  readonly student: Student
  readonly settings: Settings
  readonly progress: Progress
  readonly source: Source
  readonly types: ReadonlyMap<string, number>
  readonly programs: ParameterPrograms
  /** Held out. */
  readonly validation: readonly Int32Array[]
  /** To train on. */
  readonly windows: readonly Int32Array[]
}

async function start(
  output: string,
  student: Student,
  settings: Settings,
  options: TrainOptions,
): Promise<Progress> {
  if (options.resume && (await checkpointExists(output)))
    return loadCheckpoint(output, student.parameters, settings)
  const steps = options.steps ?? (options.seconds === undefined ? 300 : undefined)
  return { step: 0, steps, seconds: 0, calibrated: false, curve: [] }
}

/** Trains until all steps are done. */
async function loop(
  distillation: Distillation,
  { output, student, settings, progress, validation, windows }: State,
  options: TrainOptions,
  rates: { weightRate: number; scaleRate: number },
): Promise<void> {
  const { windows: perStep, length } = distillation.network.batch
  const validate = async (): Promise<void> => {
    progress.curve.push({ step: progress.step, ...(await distillation.validate(validation)) })
  }
  const save = (): Promise<void> => saveCheckpoint(output, student.parameters, progress, settings)
  const order = new WindowOrder(windows, Number(settings.seed))
  await distillation.round()
  if (progress.curve.length === 0) await validate()
  if (!progress.calibrated && progress.steps !== 0) {
    const began = performance.now()
    const batches = Math.floor(Math.min(Number(settings.calibration) / length, windows.length) / perStep)
    if (batches > 0)
      await distillation.compensate(
        order.take(0, batches * perStep),
        validation,
        progress.curve[0],
        (done, total) => {
          if (options.signal?.aborted)
            throw new QuenchError('stopped before the first step; the same command starts anew')
          options.onProgress?.({ stage: 'calibrate', done, total })
        },
      )
    progress.calibrated = true
    progress.seconds += (performance.now() - began) / 1000
    if (batches > 0 && Number.isFinite(options.checkpointEvery ?? 30)) await save()
  }

  let saved = performance.now()
  const timing: number[] = []
  while (progress.steps === undefined || progress.step < progress.steps) {
    const began = performance.now()
    const number = progress.step + 1
    const total = progress.steps
    const share = rateAt({ steps: total ?? Number.POSITIVE_INFINITY, warmup: warmupOf(total), floor }, number)
    const step = { weightRate: rates.weightRate * share, scaleRate: rates.scaleRate * share }
    const loss = await distillation.step(order.take((number - 1) * perStep, perStep), number, step, clip)
    if (!Number.isFinite(loss))
      throw new QuenchError(`training diverged at step ${number}; try again with a smaller --weight-rate`)
    progress.step = number
    progress.seconds += (performance.now() - began) / 1000
    timing.push((performance.now() - began) / 1000)
    const planned = progress.steps === undefined && options.seconds !== undefined && timing.length === 4
    if (planned) progress.steps = planSteps(options.seconds ?? 0, number, progress.seconds, timing)
    options.onProgress?.({ stage: 'train', done: number, total: progress.steps ?? number, loss })
    if (isValidationStep(number, progress.steps)) await validate()
    const stop = options.signal?.aborted ?? false
    if (planned || stop || performance.now() - saved > 1000 * (options.checkpointEvery ?? 30)) {
      await save()
      saved = performance.now()
    }
    if (stop)
      throw new QuenchError(`stopped after step ${number}; the same command with --resume goes on from there`)
  }
}

/** Writes the file, with the PTQ weights if training has not helped, and removes the checkpoint. */
async function finish(state: State, distillation: Distillation, options: TrainOptions): Promise<TrainReport> {
  const { source, types, student, programs, progress, output } = state
  const [before, after] = [progress.curve[0], progress.curve[progress.curve.length - 1]]
  const trained = progress.step === 0 || after.mean < before.mean
  const { network } = distillation
  const metadata = new Metadata(output, source.gguf.metadata)
    .set('general.file_type', { type: 'uint32', value: recipes[options.type].fileType })
    .set('general.quantization_version', { type: 'uint32', value: 2 })
  if (trained && progress.step > 0)
    metadata
      .set('quench.method', { type: 'string', value: 'distill' })
      .set('quench.steps', { type: 'uint32', value: progress.step })
      .set('quench.tokens', { type: 'uint64', value: BigInt(progress.step * network.tokens) })
      .set('quench.validation_kld_before', { type: 'float32', value: before.mean })
      .set('quench.validation_kld_after', { type: 'float32', value: after.mean })
  const parameters = trained ? student.parameters : []
  const check = await exportModel(source.gguf, output, metadata, types, parameters, programs)
  await removeCheckpoint(output)

  const { bytes, bitsPerWeight } = await fileSize(output)
  const seen = progress.step * network.tokens
  return {
    path: output,
    type: options.type,
    bytes,
    bitsPerWeight,
    written: trained ? 'qat' : 'ptq',
    steps: progress.step,
    tokens: seen,
    distinctTokens: Math.min(seen, state.windows.length * network.batch.length),
    text: (options.data ?? []).length > 0 ? 'files' : 'self-written',
    seconds: progress.seconds,
    tokensPerSecond: progress.seconds > 0 ? seen / progress.seconds : 0,
    validation: progress.curve,
    recovered: 1 - after.mean / before.mean,
    check,
  }
}

function batchOf(
  { config }: Source,
  { context, batch = 512 }: TrainOptions,
): { windows: number; length: number } {
  const length = context ?? Math.min(128, config.context)
  if (!Number.isInteger(length) || length < 8 || length > config.context)
    throw new UsageError(`--context ${length} is not from 8 to the model's ${config.context} tokens`)
  return { windows: Math.max(1, Math.round(batch / length)), length }
}

const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple

/** As many windows as fill whole batches; a single incomplete batch is filled up by repeating windows. */
function wholeBatches(windows: readonly Int32Array[], size: number): Int32Array[] {
  const count = Math.max(size, Math.floor(windows.length / size) * size)
  return Array.from({ length: count }, (_, i) => windows[i % windows.length])
}

/** Bytes of a file, and bits per weight of its tensors. */
async function fileSize(path: string): Promise<{ bytes: number; bitsPerWeight: number }> {
  const gguf = await openGguf(path)
  try {
    const sum = (key: 'bytes' | 'elements'): number => gguf.tensors.reduce((n, t) => n + t[key], 0)
    return { bytes: (await stat(path)).size, bitsPerWeight: (8 * sum('bytes')) / sum('elements') }
  } finally {
    await gguf.close()
  }
}
