/** Prepares a run: opens the model, reads the text that exists already, and plans. */

import type { DeviceWeights } from '../backends/backend.js'
import type { Release } from '../cleanup.js'
import { defaults } from '../config/defaults.js'
import type { TrainOptions } from '../config/options.js'
import type { Plan } from '../config/plan.js'
import { digest } from '../data/order.js'
import { onDevice } from '../engine/device-weights.js'
import { Network } from '../engine/network.js'
import { UsageError } from '../errors.js'
import { checkReadable } from '../files.js'
import { ggmlTypes } from '../gguf/index.js'
import { fileHash } from '../hashes.js'
import { memoryBudget } from '../memory.js'
import type { Batch } from '../models/architecture.js'
import { Optimizer } from '../optimizer/parameter.js'
import { chooseDevice } from '../plan/choose-device.js'
import { heldOutside, sizesOf, usesFisher } from '../plan/memory.js'
import { methodWithin, planRun } from '../plan/plan.js'
import type { PlanOptions } from '../plan/plan-options.js'
import { probeBlock } from '../plan/probe.js'
import type { Adjustable } from '../plan/time-budget.js'
import { type ModelImportance, missingEntries, readImportanceOf } from '../quantize/imatrix/of-model.js'
import { blocksUseImportance } from '../quantize/needs-importance.js'
import { checkDisk } from '../resume/disk.js'
import { resolveResume, settingsOf } from '../resume/resolve-resume.js'
import type { Settings } from '../resume/settings.js'
import { checkSource, openSource, type Source, targetTypes } from '../student/source.js'
import { untrainedSets } from '../student/untrained.js'
import { threadCount } from '../threads.js'
import { textOptions, textTokens } from '../training-text/run-text.js'
import { countsOf, type ReadText, readText, type TextOptions, writingOf } from '../training-text/text.js'

/** A planned run. */
export interface Prepared {
  readonly options: TrainOptions
  readonly source: Source
  /** The model in full precision on the device. */
  readonly teacher: DeviceWeights
  readonly network: Network
  readonly optimizer: Optimizer
  readonly read: ReadText
  readonly wanted: TextOptions
  /** Of `--imatrix`. */
  readonly imatrix: ModelImportance | undefined
  /** Tokens of the training text before the plan. */
  readonly tokens: number
  readonly plan: Plan
  /** What a resumed run must share of the options, the model and the text that was read. */
  readonly settings: Settings
}

/**
 * Opens the model, reads the text and plans the run. Nothing is written.
 * @param defer registers what is closed when the run ends
 * @throws UsageError, FileError or QuenchError of one sentence, also if memory or disk space is too small
 */
export async function prepare(asked: TrainOptions, defer: (release: Release) => void): Promise<Prepared> {
  const { imatrix: imatrixPath, data = [] } = asked
  for (const path of [...data, ...(imatrixPath === undefined ? [] : [imatrixPath])]) await checkReadable(path)
  const { options, decided, check } = await resolveResume(asked)
  const memory = options.memory ?? memoryBudget()
  const source = await openSource(options.input)
  defer(() => source.gguf.close())
  const batch = batchOf(source, options)
  const imatrix = imatrixPath === undefined ? undefined : await readImportanceOf(source.gguf, imatrixPath)
  for (const sentence of imatrix?.warnings ?? []) options.onWarning?.(sentence)
  const settings = {
    ...settingsOf(source.fingerprint, options, batch),
    imatrix: imatrixPath === undefined ? null : await fileHash(imatrixPath),
  }
  check(settings)
  const optimizer = new Optimizer()
  defer(() => optimizer.dispose())
  const warning = await checkSource(source, options.type)
  if (warning !== undefined) options.onWarning?.(warning)
  const { backend, device } = await deviceOf(options, source, batch)
  if (!options.backend) defer(() => backend.dispose?.())
  const teacher = onDevice(backend, source.weights)
  const network = new Network(backend, source.architecture, source.config, batch)
  defer(() => network.dispose())
  const types = targetTypes(source, options, options.onWarning)
  if (imatrix && imatrixPath !== undefined) {
    const rounded = source.gguf.tensors.filter(
      ({ name, type }) => name.startsWith('blk.') && types.get(name) !== type,
    )
    const missing = missingEntries(
      imatrixPath,
      rounded.flatMap(({ name }) => (imatrix.importance.has(name) ? [] : [name])),
    )
    if (missing !== undefined) options.onWarning?.(missing)
  }
  const { vocabulary } = source.config
  if ((options.teacherTopK ?? 0) >= vocabulary)
    throw new UsageError(
      `--teacher-top-k ${options.teacherTopK} is not less than the model's ${vocabulary} tokens`,
    )
  const wanted = textOptions(source, batch.length, options, memory, decided?.written)
  const read = await readText(options.input, wanted)
  const readSettings = { ...settings, ...textSettings(read, wanted) }
  check(readSettings)
  const tokens = textTokens(read, network, wanted, options.calibration)
  const planned: PlanOptions = {
    ...{ backend, device, memory, deviceMemory: options.deviceMemory },
    method: options.method ?? defaults.method,
    batch: network.tokens,
    calibration: tokens.calibration,
    importance: imatrix ? 0 : tokens.importance,
    trial: tokens.trial,
    validation: tokens.validation,
    weighs: blocksUseImportance(types),
    steps: options.steps ?? (options.seconds === undefined ? defaults.steps : undefined),
    seconds: options.seconds,
    text: tokens.train,
    writing: await writingOf(options.input, wanted, read),
    adjustable: adjustable(options),
    length: network.batch.length,
    topK: options.teacherTopK,
    ...(decided && { inMemory: decided.inMemory }),
    untrained:
      decided && (options.embeddings ?? defaults.embeddings) === 'auto'
        ? [decided.untrained]
        : untrainedSets(source, types, options.embeddings ?? defaults.embeddings).map((set) =>
            options.leaveOutputTensor ? withOutput(source, set) : set,
          ),
    speeds: (inMemory, keeps) => {
      network.keepsMemory = inMemory
      const held = sizesOf(source).block + heldOutside(source)
      source.weights.most = inMemory ? Number.POSITIVE_INFINITY : 4 * held
      return probeBlock(
        source,
        teacher,
        network,
        types,
        {
          solves: tokens.calibration > 0,
          ...{ trial: tokens.trial, keeps, fisher: inMemory && usesFisher(source) },
        },
        (done, total) => {
          options.signal?.throwIfAborted()
          options.onProgress?.({ stage: 'measure', done, total, tokens: total })
        },
      )
    },
  }
  const plan = { ...(await planRun(source, planned)), types: counted(types) }
  await checkDisk(options.output, plan, source, types, (disk) => methodWithin(disk, source, planned, plan))
  return {
    ...{ options, source, teacher, network, optimizer, read, wanted, plan, imatrix },
    tokens: tokens.train,
    settings: readSettings,
  }
}

/** What computes: a backend that the caller gave, or the device of the options. */
async function deviceOf(
  { backend, device = defaults.device, deviceMemory }: TrainOptions,
  source: Source,
  batch: Batch,
): Promise<Awaited<ReturnType<typeof chooseDevice>>> {
  if (!backend) return chooseDevice(source, batch, device, deviceMemory)
  await backend.load?.()
  return { backend, device: { name: device === 'auto' ? defaults.device : device } }
}

/** What a resumed run has to find again before it computes anything: the text, and the threads that the model writes its own with. */
function textSettings(read: ReadText, wanted: TextOptions): Settings {
  const kinds = [read.general, read.importance, read.trial, read.validation].flat()
  return {
    read: digest([...read.files, ...kinds.flatMap(({ windows }) => windows)]),
    threads: countsOf(read, wanted).selfWritten > 0 ? threadCount() : null,
  }
}

/** An output matrix that stays as it is does not train either. */
const withOutput = ({ gguf }: Source, untrained: ReadonlySet<string>): ReadonlySet<string> =>
  gguf.has('output.weight') ? new Set([...untrained, 'output.weight']) : untrained

/** How many tensors of the file have each type, by ggml's names. */
function counted(types: ReadonlyMap<string, number>): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const type of types.values()) {
    const name = ggmlTypes.get(type)?.name ?? String(type)
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

/** Options that were not given, so the plan may adjust them. */
function adjustable({ tokens, calibration }: TrainOptions): Set<Adjustable> {
  const set = new Set<Adjustable>()
  if (tokens === undefined) set.add('tokens')
  if (calibration === undefined) set.add('calibration')
  return set
}

function batchOf(
  { config }: Source,
  { context, batch = defaults.batch }: TrainOptions,
): { windows: number; length: number } {
  const length = context ?? Math.min(defaults.context, config.context)
  if (!Number.isInteger(length) || length < 8 || length > config.context)
    throw new UsageError(`--context ${length} is not from 8 to the model's ${config.context} tokens`)
  return { windows: Math.max(1, Math.round(batch / length)), length }
}
