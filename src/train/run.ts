/**
 * A training run from the text to the file. What a stage has made stays only where it is better than before it on text of several kinds
 * that is from other sources than what it was made from; and before the first stage there is the better of the reference quantizer's
 * files, with and without importances. Where no stage helps, that is written and the report says so. Finished blocks and, every now and
 * then, the whole state are saved, and a resumed run ends with the same file: the order of windows depends on seed and step alone.
 */

import { rm } from 'node:fs/promises'
import { BlockClock } from '../blockwise/block-clock.js'
import { hasBlocks, loadBlocks, solveStreamed, solveWhole } from '../blockwise/blockwise.js'
import { fisherOf } from '../blockwise/fisher.js'
import { importanceOf } from '../blockwise/importance.js'
import { withCleanup } from '../cleanup.js'
import type { StageReport, TrainOptions } from '../config/options.js'
import type { Plan } from '../config/plan.js'
import { digest } from '../data/order.js'
import { joinWindows } from '../data/windows.js'
import { Distillation } from '../distill/distillation.js'
import { trainSteps } from '../distill/steps.js'
import type { Network } from '../engine/network.js'
import { TeacherCache } from '../engine/teacher-cache.js'
import { QuenchError } from '../errors.js'
import { summarizeFile } from '../gguf/summary.js'
import type { Batch } from '../models/architecture.js'
import { MomentFile } from '../optimizer/adam-state-file.js'
import type { ParameterPrograms } from '../optimizer/parameter.js'
import { sizesOf, usesFisher } from '../plan/memory.js'
import { teacherCacheBytes } from '../plan/step-cost.js'
import { BlocksOnDisk } from '../resume/blocks-on-disk.js'
import {
  checkpointExists,
  checkpointPath,
  loadCheckpoint,
  type Progress,
  removeCheckpoint,
  type Settings,
} from '../resume/checkpoint.js'
import { blocksFolder, keepsState, momentsPath, streamsFolder, teacherPath } from '../resume/disk.js'
import { type ExportCheck, exportModel, type TrainedTensors, trainedParameters } from '../student/export.js'
import { type Source, targetTypes } from '../student/source.js'
import { type Importance, makeStudent, restart, type Student } from '../student/student.js'
import { defaultTokens, inBatches, type RunText } from '../training-text/run-text.js'
import { opponentOf, type Validated } from '../validation/opponent.js'
import {
  beatsStock,
  type Divergence,
  inWholeBatches,
  isBetter,
  type KindWindows,
  meanOf,
} from '../validation/validation.js'
import type { TrainReport } from './report.js'
import { outcomeOf, type Result, resultMetadata } from './result.js'

export const defaultSteps = 300

export class Run {
  private readonly check: ExportCheck = { tensors: 0, weights: 0, differing: 0 }
  private readonly stages: StageReport[] = []
  private readonly types: ReadonlyMap<string, number>
  private clock: BlockClock | undefined
  private readonly untrained: ReadonlySet<string>
  private known: Importance | undefined
  private readonly rates: { weightRate: number; scaleRate: number }

  constructor(
    private readonly source: Source,
    private readonly options: TrainOptions,
    private readonly plan: Plan,
    private readonly network: Network,
    private readonly programs: ParameterPrograms,
    private readonly text: RunText,
    /** When the command began, on the clock of `performance.now`. */
    private readonly began: number,
  ) {
    this.types = targetTypes(source, options.type)
    this.untrained = new Set(plan.untrained)
    this.rates = { weightRate: options.weightRate ?? 0.003, scaleRate: options.scaleRate ?? 0.0005 }
  }

  async run(): Promise<TrainReport> {
    const { output } = this.options
    const folder = blocksFolder(output)
    return withCleanup(async (defer) => {
      if (!keepsState(this.options)) defer(() => rm(folder, { recursive: true, force: true }))
      const { text } = this
      this.clock = new BlockClock(text.calibration.length * this.network.batch.length, this.options.onBlock)
      const settings = this.settings(text)
      const disk = new BlocksOnDisk(folder, settings, this.plan.whole ? 'latents' : 'tensors')
      defer(() => disk.close())
      const report = this.plan.whole
        ? await this.whole(text, settings, disk)
        : await this.streamed(text, disk)
      await disk.remove()
      await removeCheckpoint(output)
      return report
    })
  }

  private settings({ windows, importance, trial, validation }: RunText): Settings {
    const { type, tokens = defaultTokens, steps = null, seconds = null, seed = 1 } = this.options
    return {
      model: this.source.fingerprint,
      type,
      method: this.plan.method,
      untrained: this.plan.untrained.join(' '),
      teacherTopK: this.plan.teacher.topK,
      text: digest([...windows, ...[...importance, ...trial, ...validation].flatMap((kind) => kind.windows)]),
      tokens,
      steps,
      seconds,
      context: this.network.batch.length,
      batch: this.network.tokens,
      whole: this.plan.whole,
      calibration: this.plan.calibration,
      seed,
      ...this.rates,
    }
  }

  private readonly onBlock = (done: number, total: number): void => {
    this.mayStop(done, total)
    this.clock?.at(done, total)
    this.options.onProgress?.({ stage: 'blockwise', done, total, tokens: this.clock?.tokens ?? 0 })
  }

  private mayStop(done: number, total: number): void {
    if (this.options.signal?.aborted)
      throw new QuenchError(
        `stopped in block ${Math.floor(done) + 1} of ${total}; the same command with --resume goes on from there`,
      )
  }

  /** One block in memory at a time. */
  private async streamed(text: RunText, disk: BlocksOnDisk): Promise<TrainReport> {
    const { source, network, programs, types, plan, check } = this
    const began = performance.now()
    const importance = await this.importance()
    const { plain, weighed, solved } = await solveStreamed({
      source,
      network,
      programs,
      types,
      importance,
      disk,
      check,
      batches: inBatches(text.calibration, network.batch),
      trial: trialOf(text, network.batch),
      validation: text.validation,
      spill: plan.spillBytes > 0 ? streamsFolder(this.options.output) : undefined,
      onProgress: this.onBlock,
    })
    const seconds = (performance.now() - began) / 1000
    const opponent = opponentOf(plain, weighed)
    const better = beatsStock(plain, solved) && beatsStock(weighed, solved)
    this.stages.push({ stage: 'blockwise', seconds, kld: meanOf(solved), taken: better })
    const result = { plain, opponent, after: better ? solved : opponent.divergence }
    const trained: TrainedTensors = async (name) => {
      const layer = /^blk\.(\d+)\./.exec(name)?.[1]
      return layer === undefined ? undefined : disk.bytes(`block-${layer}`, name)
    }
    const curve = [{ step: 0, ...meanOf(plain) }]
    const progress: Progress = { step: 0, steps: 0, seconds, elapsed: 0, validating: 0, curve }
    return this.write(progress, text, result, better ? trained : undefined)
  }

  /** The whole student in memory. */
  private async whole(text: RunText, settings: Settings, disk: BlocksOnDisk): Promise<TrainReport> {
    const { source, network, programs, plan, options } = this
    const student = await makeStudent(source, this.types, this.untrained)
    if (plan.momentBytes > 0)
      programs.moments = await MomentFile.create(momentsPath(options.output), student.parameters)
    const spare = plan.memory - Math.max(...plan.stages.map(({ bytes }) => bytes))
    const kept = Math.max(0, Math.min(teacherCacheBytes(plan.memory), spare))
    const cache = options.teacher ?? new TeacherCache(kept)
    const distillation = new Distillation(
      network,
      source.weights,
      cache,
      student.parameters,
      programs,
      student.weights,
    )
    await distillation.round()
    const resumed =
      options.resume && (await checkpointExists(options.output))
        ? await this.resumed(student, settings)
        : undefined
    const progress = resumed ?? (await this.begin(distillation, student, text, disk))
    if (resumed) this.stages.push(...(progress.stages ?? []))
    const validated = progress.validated as Validated
    const { plain, opponent, solved } = validated
    if (plan.method === 'scales' && !resumed) for (const p of student.parameters) programs.fix(p)
    await distillation.round()
    const { order, validation, windows } = text
    const path = teacherPath(options.output)
    const rest = {
      distillation,
      top:
        plan.teacher.topK > 0
          ? { path, teacher: source.fingerprint, windows, k: plan.teacher.topK }
          : undefined,
      order,
      validation,
      options,
      rates: this.rates,
      settings,
      resumed: resumed !== undefined,
      began: this.began - 1000 * progress.elapsed,
    }
    await trainSteps(rest, progress)
    let after = solved ?? opponent.divergence
    if (progress.step > 0 && plan.method !== 'blockwise') {
      const seconds = progress.seconds - solvingSeconds(this.stages)
      const trained = progress.last as Divergence
      const best = await this.bestOf(student, disk, validated, trained)
      if (best.kept === 'ptq')
        for (const [i, stage] of this.stages.entries()) this.stages[i] = { ...stage, taken: false }
      const taken = best.kept === 'trained'
      this.stages.push({ stage: plan.method, seconds, kld: meanOf(trained), taken })
      after = best.divergence
    }
    const tensors = this.stages.some(({ taken }) => taken)
      ? trainedParameters(student.parameters, programs, this.check)
      : undefined
    return this.write(progress, text, { plain, opponent, after }, tensors)
  }

  /** Validates what there is without training, and solves for a better start. */
  private async begin(
    distillation: Distillation,
    student: Student,
    text: RunText,
    disk: BlocksOnDisk,
  ): Promise<Progress> {
    const { network, plan, options } = this
    const steps =
      plan.method === 'blockwise'
        ? 0
        : (options.steps ?? (options.seconds === undefined ? defaultSteps : undefined))
    const progress: Progress = { step: 0, steps, seconds: 0, elapsed: 0, validating: 0, curve: [] }
    const began = performance.now()
    const mayStop = () => this.mayStop(0, network.config.layers)
    const plain = await distillation.validate(text.validation, mayStop)
    progress.curve.push({ step: 0, ...meanOf(plain) })
    progress.validating = (performance.now() - began) / 1000
    await this.restart(student, await this.importance())
    const weighed = await distillation.validate(text.validation, mayStop)
    const opponent = opponentOf(plain, weighed)
    if (opponent.kind === 'plain') await this.restart(student, undefined)
    progress.validated = { plain, weighed, opponent, solved: undefined }
    if (options.steps !== 0 || plan.method === 'blockwise')
      await this.solve(distillation, student, text, progress, disk)
    return progress
  }

  /**
   * Leaves what the last stage made where it is better than before it, and takes the parameters back otherwise. Where the finished blocks
   * are gone by then, the better of what is left stays: what was trained, or what the reference quantizer makes.
   */
  private async bestOf(
    student: Student,
    disk: BlocksOnDisk,
    { plain, weighed, opponent, solved }: Validated,
    trained: Divergence,
  ): Promise<{ kept: 'trained' | 'solved' | 'ptq'; divergence: Divergence }> {
    const { network, programs } = this
    const better = beatsStock(plain, trained) && beatsStock(weighed, trained)
    if (solved ? isBetter(solved, trained) : better) return { kept: 'trained', divergence: trained }
    if (solved && better && !hasBlocks(student, network, disk))
      return { kept: 'trained', divergence: trained }
    for (const p of student.parameters) p.codes = undefined
    if (solved && (await loadBlocks(student, network, disk, programs)))
      return { kept: 'solved', divergence: solved }
    await this.restart(student, opponent.kind === 'importance' ? await this.importance() : undefined)
    return { kept: 'ptq', divergence: opponent.divergence }
  }

  /** Gives the parameters the reference quantizer's codes. */
  private async restart({ parameters }: Student, importance: Importance | undefined): Promise<void> {
    for (const p of parameters) {
      await restart(this.source, this.types, p, importance)
      await this.programs.round(p)
    }
  }

  /** Mean squares of what the matrices of the blocks read in general text. */
  private async importance(): Promise<Importance> {
    const { network, source, text } = this
    this.known ??= await importanceOf(
      network,
      batchesOf(text.importance, network.batch),
      source.weights,
      () => this.mayStop(0, network.config.layers),
    )
    return new Map([...this.known].filter(([name]) => name.startsWith('blk.')))
  }

  /** Takes the state of a checkpoint. */
  private async resumed({ parameters }: Student, settings: Settings): Promise<Progress> {
    const path = checkpointPath(this.options.output)
    if (this.plan.method === 'scales') {
      // Codes first: what stays has no moments.
      await loadCheckpoint(path, parameters, settings)
      for (const p of parameters) this.programs.fix(p)
    }
    return loadCheckpoint<Progress>(path, parameters, settings, this.programs.moments)
  }

  /** The block-wise start; the parameters are as they were where it does not help. */
  private async solve(
    distillation: Distillation,
    student: Student,
    text: RunText,
    progress: Progress,
    disk: BlocksOnDisk,
  ): Promise<void> {
    const windows = text.calibration
    if (windows.length === 0) return
    const { source, network, programs } = this
    const { plain, weighed, opponent } = progress.validated as Validated
    const began = performance.now()
    this.onBlock(0, network.config.layers)
    const outputs = usesFisher(source)
      ? await fisherOf(network, source.weights, distillation.cache, windows, () =>
          this.mayStop(0, network.config.layers),
        )
      : new Map<string, Float32Array>()
    await network.dispose() // of what only that needed
    await solveWhole({
      source,
      network,
      programs,
      student,
      disk,
      weights: distillation.student,
      outputs,
      batches: inBatches(windows, network.batch),
      trial: trialOf(text, network.batch),
      onProgress: this.onBlock,
    })
    await network.dispose()
    if (!this.options.teacher) distillation.cache.fisher.clear()
    const validated = performance.now()
    const divergence = await distillation.validate(text.validation)
    // The first one compiled more, and let the teacher read the held-out text.
    progress.validating = Math.min(progress.validating, (performance.now() - validated) / 1000)
    const taken = beatsStock(plain, divergence) && beatsStock(weighed, divergence)
    if (taken) progress.validated = { ...(progress.validated as Validated), solved: divergence }
    else await this.restart(student, opponent.kind === 'importance' ? await this.importance() : undefined)
    const seconds = (performance.now() - began) / 1000
    progress.seconds += seconds
    this.stages.push({ stage: 'blockwise', seconds, kld: meanOf(divergence), taken })
    progress.stages = [...this.stages]
  }

  /** Writes the file, without `tensors` that of the reference quantizer, and says what is in it. */
  private async write(
    progress: Progress,
    text: RunText,
    result: Result,
    tensors: TrainedTensors | undefined,
  ): Promise<TrainReport> {
    const { source, options, plan, network, types, check, stages } = this
    const weighed = !tensors && result.opponent.kind === 'importance' ? await this.importance() : undefined
    const seen = progress.step * network.tokens
    const steps = { steps: progress.step, tokens: seen }
    const metadata = resultMetadata(source, options, stages, steps, result)
    await exportModel(
      source.gguf,
      options.output,
      metadata,
      types,
      tensors ?? (async () => undefined),
      weighed,
    )
    const { bytes, bitsPerWeight } = await summarizeFile(options.output)
    const trainingSeconds = progress.seconds - solvingSeconds(stages)
    const { fileTokens, generalTokens, selfWrittenTokens, distinct4 } = text.report
    return {
      path: options.output,
      type: options.type,
      bytes,
      bitsPerWeight,
      written: tensors ? 'qat' : 'ptq',
      method: plan.method,
      weights: {
        trained: sizesOf(source, this.untrained).trained,
        all: sizesOf(source).all,
        untrained: plan.untrained,
      },
      plan,
      stages,
      steps: progress.step,
      peakBytes: process.resourceUsage().maxRSS * 1024,
      tokens: seen,
      distinctTokens: Math.min(seen, text.windows.length * network.batch.length),
      textTokens: {
        files: fileTokens,
        general: generalTokens,
        selfWritten: selfWrittenTokens,
        distinct4,
      },
      seconds: progress.seconds,
      tokensPerSecond: trainingSeconds > 0 ? seen / trainingSeconds : 0,
      validation: progress.curve,
      ...outcomeOf(result),
      check,
    }
  }
}

const solvingSeconds = (stages: readonly StageReport[]): number =>
  stages.find(({ stage }) => stage === 'blockwise')?.seconds ?? 0

const batchesOf = (text: readonly KindWindows[], { windows }: Batch): Int32Array[] =>
  inWholeBatches(text, windows).map(joinWindows)

/** The batches that decide among candidates, and where their kinds of text begin and end. */
function trialOf({ trial }: RunText, { windows, length }: Batch) {
  const bounds = [0]
  for (const { windows: own } of trial) bounds.push((bounds.at(-1) as number) + own.length * length)
  return { batches: batchesOf(trial, { windows, length }), bounds }
}
