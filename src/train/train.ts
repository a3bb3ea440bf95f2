/**
 * `quench train`: quantization-aware training of a GGUF file.
 *
 *   open the model -> plan by memory and time -> text -> quantize with the reference quantizer (step 0 is PTQ) -> solve block
 *   by block for a better start (blockwise.ts) -> train end to end by distillation, all weights or only scales -> write the codes
 *   of the training graph, checked by libggml
 */
import { UsageError } from '../errors.js'
import { checkReadable, checkWritable } from '../files.js'
import { Program } from '../runtime/program.js'
import { checkDisk, checkLeftovers, freeBytes } from './disk.js'
import { untrainedSets } from './embeddings.js'
import { Network } from './network.js'
import type { TrainOptions, TrainReport } from './options.js'
import { ParameterPrograms } from './parameter.js'
import { defaultMemory, planRun, sizesOf } from './plan.js'
import { defaultSteps, Run } from './run.js'
import { defaultCalibration, defaultTokens, runText, validationTokens } from './run-text.js'
import { sampleBlock } from './sample.js'
import { checkTrainable, openSource, type Source, targetTypes } from './source.js'
import { writingBytes } from './text.js'

/** @throws UsageError, FileError or QuenchError of one sentence */
export async function train(options: TrainOptions): Promise<TrainReport> {
  checkTrainable(options.type)
  checkWritable(options.output)
  checkLeftovers(options.output, options.resume ?? false)
  for (const path of options.data ?? []) await checkReadable(path)
  const memory = options.memory ?? defaultMemory()
  const source = await openSource(options.input)
  const programs = new ParameterPrograms()
  let network: Network | undefined
  try {
    const own = new Network(source.architecture, source.config, batchOf(source, options))
    network = own
    const types = targetTypes(source, options.type)
    const { vocabulary } = source.config
    if ((options.teacherTopK ?? 0) >= vocabulary)
      throw new UsageError(
        `--teacher-top-k ${options.teacherTopK} is not less than the model's ${vocabulary} tokens`,
      )
    const writing = await writingBytes(options.input, {
      data: options.data ?? [],
      ...(options.selfWritten !== undefined && { selfWritten: options.selfWritten }),
      tokens: options.tokens ?? defaultTokens,
      length: network.batch.length,
      validation: Math.ceil(validationTokens / network.batch.length),
      memory,
    })
    // What is read is known before the plan, what is written is not.
    const text = writing.text > 0 ? undefined : await runText(source, network, options, memory)
    const { length } = network.batch
    const tokens = (windows: readonly unknown[] | undefined, otherwise: number): number =>
      windows ? windows.length * length : otherwise
    const planned = await planRun(source, {
      method: options.method ?? 'auto',
      memory,
      batch: network.tokens,
      calibration: tokens(text?.calibration, options.calibration ?? defaultCalibration),
      validation: tokens(text?.validation, validationTokens),
      steps: options.steps ?? (options.seconds === undefined ? defaultSteps : undefined),
      seconds: options.seconds,
      text: tokens(text?.windows, options.tokens ?? defaultTokens),
      length,
      topK: options.teacherTopK,
      disk: await freeBytes(options.output),
      untrained: untrainedSets(source, types, options.embeddings ?? 'auto'),
      speeds: (whole) => {
        Program.keepsMemory = whole
        source.weights.most = whole ? Number.POSITIVE_INFINITY : 4 * sizesOf(source).block
        return sampleBlock(source, own, programs, types, (done, total) => {
          options.signal?.throwIfAborted()
          options.onProgress?.({ stage: 'measure', done, total, tokens: total })
        })
      },
    })
    const plan = { ...planned, writing }
    await checkDisk(options.output, plan, source, types)
    options.onPlan?.(plan)
    return await new Run(source, options, plan, network, programs, text).run()
  } finally {
    Program.keepsMemory = true
    await network?.dispose()
    await programs.dispose()
    await source.gguf.close()
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
