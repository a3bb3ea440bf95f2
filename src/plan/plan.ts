/**
 * Plans a run within the given memory and time, before it starts (bytes: memory.ts; seconds: cost-model.ts and step-cost.ts). The
 * figures are estimates: bytes from the sizes of buffers, seconds from a probe on this machine.
 */

import { blockwise, type Method, methods, trainingOf } from '../config/methods.js'
import type { Item, Plan, PlannedStage } from '../config/plan.js'
import { QuenchError } from '../errors.js'
import { gigabytes } from '../format.js'
import { validations } from '../optimizer/schedule.js'
import type { Model } from '../student/source.js'
import { vocabularyMatrices } from '../student/untrained.js'
import { otherSeconds, productSpeed, solvingWork, writingSpeed } from './cost-model.js'
import { deviceBytesOf, deviceMemoryOf } from './device-memory.js'
import { type Fit, fitting } from './fit.js'
import {
  blockBytesOf,
  bytesOf,
  checkpointBytesOf,
  type Holder,
  hiddenWidth,
  keptBytes,
  memoryOf,
  sizesOf,
  totalOf,
  usesFisher,
} from './memory.js'
import type { PlanOptions } from './plan-options.js'
import type { BlockSeconds } from './probe.js'
import { trainingCost } from './step-cost.js'
import { budgetTime } from './time-budget.js'

/** Tokens per input beyond which more of them gain little (LOG.md). */
const tokensPerInput = 8

/** The first method after the planned one that fits in memory and in `disk` bytes on disk. */
export function methodWithin(
  disk: number,
  model: Model,
  options: PlanOptions,
  planned: Plan,
): Method | undefined {
  return methods.slice(methods.indexOf(planned.method) + 1).find((method) => {
    const fit = fitting(model, options, method)
    if (!fit) return false
    const { momentBytes, untrained } = fit
    const needed =
      blockBytesOf(model, planned.inMemory, untrained) + checkpointBytesOf(model, method, untrained)
    return momentBytes + needed + planned.spillBytes <= disk
  })
}

/** Makes the plan. @throws QuenchError if the method does not fit, naming one that does */
export async function planRun(model: Model, options: PlanOptions): Promise<Plan> {
  const { memory, method, deviceMemory } = options
  const fits = (m: Method): boolean => fitting(model, options, m) !== undefined
  const wanted = method === 'auto' ? methods.find(fits) : method
  const fit = wanted && fitting(model, options, wanted)
  const untrained = fit?.untrained ?? options.untrained?.at(-1) ?? new Set<string>()
  const bytes = (holder: Holder): number => Math.ceil(bytesOf(holder, model, options, untrained))
  const inMemory =
    options.inMemory ??
    (bytes('solving in memory') <= memory && fitsDevice(model, options, untrained, true, 0))
  const solvingBytes = bytes(inMemory ? 'solving in memory' : 'solving one block at a time')
  if (options.inMemory !== undefined && wanted !== undefined && solvingBytes > memory)
    throw new QuenchError(
      `going on with this run takes about ${gigabytes(solvingBytes)} of memory and ${gigabytes(memory)} are allowed; give it more, or start anew`,
    )
  if (wanted === undefined || !fit) {
    const other = methods.find(fits)
    const training = wanted && trainingOf(wanted)
    const needed = training
      ? Math.max(bytes(training), bytes('solving in memory'))
      : bytes('solving one block at a time')
    const advice = other
      ? `--method ${other} fits`
      : 'give it more, take a smaller model, or use quench quantize'
    const holder = training ?? 'solving one block at a time'
    const onDevice = Math.ceil(deviceBytesOf(holder, model, options, untrained))
    if (needed <= memory && deviceMemory !== undefined && onDevice > deviceMemory)
      throw new QuenchError(
        `training this model takes about ${gigabytes(onDevice)} of the GPU's memory and --device-memory allows ${gigabytes(deviceMemory)}; ${other ? advice : 'allow more, or use --device cpu'}`,
      )
    throw new QuenchError(
      `training this model${wanted ? ` with --method ${wanted}` : ''} takes about ${gigabytes(needed)} of memory and ${gigabytes(memory)} are allowed; ${advice}`,
    )
  }
  const product = await productSpeed(options.backend, model.config.width)
  const streams = inMemory ? 0 : streamBytesOf(model, options)
  const kept = keptBytes(model, options)
  const keepsActivations =
    solvingBytes + streams + kept <= memory && fitsDevice(model, options, untrained, inMemory, streams + kept)
  const measured = { speeds: await options.speeds(inMemory, keepsActivations), product }
  const holding = { inMemory, keepsActivations }
  const plan = layOut(model, options, wanted, fit, holding, measured)
  const few = method === 'auto' && options.seconds !== undefined && stepsOf(plan, options) < fewestSteps
  const alone = few ? fitting(model, options, blockwise) : undefined
  return alone ? layOut(model, options, blockwise, alone, holding, measured) : plan
}

/** Bytes of hidden states with one block in memory: of teacher and student, and of both stock files. */
const streamBytesOf = (model: Model, { calibration, trial, validation }: PlanOptions): number =>
  4 * 2 * (calibration + trial + 2 * validation) * hiddenWidth(model)

/** Whether the block-wise stage and more bytes fit on a GPU; there may be no limit. */
const fitsDevice = (
  model: Model,
  options: PlanOptions,
  untrained: ReadonlySet<string>,
  inMemory: boolean,
  more: number,
): boolean =>
  deviceBytesOf(inMemory ? 'solving in memory' : 'solving one block at a time', model, options, untrained) +
    more <=
  (options.deviceMemory ?? Number.POSITIVE_INFINITY)

/** Fewer steps than this gain nothing after the block-wise stage, and the time is better spent on that stage. */
const fewestSteps = 100

/** Steps that fit in their planned time. */
function stepsOf({ method, stages }: Plan, { batch }: PlanOptions): number {
  const training = trainingOf(method) && stages.at(-1)
  return training ? (training.seconds * training.tokensPerSecond) / batch : Number.POSITIVE_INFINITY
}

/** Lays out a method's cost stage by stage, and divides the time among the stages. */
function layOut(
  model: Model,
  options: PlanOptions,
  method: Method,
  { untrained, momentBytes }: Fit,
  { inMemory, keepsActivations }: Pick<Plan, 'inMemory' | 'keepsActivations'>,
  { speeds, product }: { readonly speeds: BlockSeconds; readonly product: number },
): Plan {
  const { memory } = options
  const held = (holder: Holder): Item[] => memoryOf(holder, model, options, untrained)
  const { fisher, validating } = otherSeconds(model, options, speeds.forward, product)
  // The reference quantizer's files are validated before the block-wise stage, and its result after it.
  const beside: Item[] = [
    { what: 'Fisher information', amount: options.calibration > 0 && usesFisher(model) ? fisher : 0 },
    { what: 'validation of PTQ and the result', amount: (options.weighs === false ? 2 : 3) * validating },
  ]
  const workFrom = (calibration: number): Item[] => [
    ...(inMemory ? beside : []),
    ...solvingWork(model, { ...options, calibration }, inMemory, speeds),
  ]
  const solvingFrom = (tokens: number): number => totalOf(workFrom(tokens))
  const steps = trainingOf(method)
  const { tokens, calibration, solving, writing, left } = budgetTime(
    { ...options, trains: steps !== undefined },
    { writing: writingSpeed(model, options.batch, speeds.forward, product), solving: solvingFrom },
  )
  const streamBytes = streamBytesOf(model, { ...options, calibration })
  const solver = held(inMemory ? 'solving in memory' : 'solving one block at a time')
  const spill =
    !inMemory &&
    (totalOf(solver) + streamBytes > memory || !fitsDevice(model, options, untrained, inMemory, streamBytes))
  if (!inMemory && !spill)
    solver.push({ what: 'hidden states of teacher, student and both PTQ files', amount: streamBytes })
  if (keepsActivations)
    solver.push({
      what: 'activations that are kept from one group of matrices to the next',
      amount: keptBytes(model, { ...options, calibration }),
    })
  const onDevice = (holder: Holder): Pick<PlannedStage, 'deviceMemory'> =>
    (options.device?.name ?? 'cpu') === 'cpu'
      ? {}
      : { deviceMemory: deviceMemoryOf(holder, model, options, untrained) }
  const stages: PlannedStage[] = [
    {
      ...onDevice(inMemory ? 'solving in memory' : 'solving one block at a time'),
      stage: blockwise,
      bytes: Math.ceil(totalOf(solver)),
      seconds: solving,
      memory: solver,
      work: workFrom(calibration),
      tokensPerSecond: solving > 0 ? calibration / solving : 0,
    },
  ]
  const training = trainingCost(
    model.config,
    sizesOf(model, untrained),
    { ...options, momentBytes, text: tokens, seconds: left },
    speeds.forward,
    product,
  )
  if (steps) {
    const { seconds, tokensPerSecond } = training
    const { weightBytes, weightBytesOnDisk = weightBytes } = steps
    const holder = { weightBytes: momentBytes > 0 ? weightBytesOnDisk : weightBytes }
    const memory = held(holder)
    const more = options.seconds === undefined && options.steps !== 0 ? validations * validating : 0
    const work = [
      { what: 'steps', amount: seconds },
      { what: 'validation', amount: more },
    ]
    const bytes = Math.ceil(totalOf(memory))
    stages.push({
      ...{ stage: method, bytes, seconds: seconds + more, memory, work, tokensPerSecond },
      ...onDevice(holder),
    })
  }
  const disk = {
    spillBytes: spill ? streamBytes : 0,
    blockBytes: blockBytesOf(model, inMemory, untrained),
    checkpointBytes: checkpointBytesOf(model, method, untrained),
    momentBytes,
  }
  const { inputs } = sizesOf(model)
  const enough = Math.ceil((tokensPerInput * inputs) / options.batch) * options.batch
  const few = calibration > 0 && calibration < enough
  const teacher = steps ? training.teacher : { topK: 0, bytes: 0 }
  return {
    method,
    ...(options.device && { device: options.device }),
    inMemory,
    keepsActivations,
    ...disk,
    diskBytes: Object.values(disk).reduce((a, b) => a + b, teacher.bytes),
    disk: [
      { what: 'finished blocks, and what is computed before them', amount: disk.blockBytes },
      { what: 'hidden states between blocks', amount: disk.spillBytes },
      { what: 'two checkpoints', amount: disk.checkpointBytes },
      { what: "the optimizer's moments", amount: disk.momentBytes },
      { what: "the teacher's top-k tokens", amount: teacher.bytes },
    ],
    teacher,
    memory,
    untrained: [...(inMemory ? untrained : vocabularyMatrices(model).keys())],
    tokens,
    calibration,
    ...(few && { few: { inputs, tokens: enough, seconds: solvingFrom(enough) } }),
    writing,
    stages,
  }
}
