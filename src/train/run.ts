/**
 * A training run from the text to the file. What a stage has made stays only where validation is better than before it; where no
 * stage helps, the PTQ weights are written and the report says so. Finished blocks and, every now and then, the whole state are
 * saved, and a resumed run ends with the same file: the order of windows depends on seed and step alone.
 */
import { rm } from 'node:fs/promises'
import { withCleanup } from '../cleanup.js'
import { digest } from '../data/order.js'
import { QuenchError } from '../errors.js'
import { recipes } from '../formats/recipes.js'
import { Metadata } from '../gguf/index.js'
import { summarizeFile } from '../gguf/summary.js'
import { BlockClock } from './block-clock.js'
import { BlocksOnDisk } from './blocks-on-disk.js'
import { hasBlocks, loadBlocks, type StreamedResult, solveStreamed, solveWhole } from './blockwise.js'
import {
  checkpointExists,
  checkpointPath,
  loadCheckpoint,
  type Progress,
  removeCheckpoint,
  type Settings,
} from './checkpoint.js'
import { blocksFolder, keepsState, momentsPath, streamsFolder, teacherPath } from './disk.js'
import { Distillation, TeacherCache } from './distillation.js'
import type { MeanError } from './estimate.js'
import { type ExportCheck, exportModel, type TrainedTensors, trainedParameters } from './export.js'
import { inputKey } from './leftovers.js'
import { MomentFile } from './moment-file.js'
import type { Network } from './network.js'
import type { StageReport, TrainOptions, TrainReport } from './options.js'
import type { ParameterPrograms } from './parameter.js'
import { type Plan, sizesOf } from './plan.js'
import { defaultTokens, inBatches, type RunText } from './run-text.js'
import { makeStudent, type Source, type Student, targetTypes } from './source.js'
import { teacherCacheBytes } from './step-seconds.js'
import { trainSteps } from './steps.js'

export const defaultSteps = 300

export class Run {
  private readonly check: ExportCheck = { tensors: 0, weights: 0, differing: 0 }
  private readonly stages: StageReport[] = []
  private readonly types: ReadonlyMap<string, number>
  private clock: BlockClock | undefined
  private readonly untrained: ReadonlySet<string>
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

  private settings({ windows, validation }: RunText): Settings {
    const { type, tokens = defaultTokens, steps = null, seconds = null, seed = 1 } = this.options
    return {
      model: this.source.fingerprint,
      type,
      method: this.plan.method,
      untrained: this.plan.untrained.join(' '),
      teacherTopK: this.plan.teacher.topK,
      text: digest([...windows, ...validation]),
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
    const result = await solveStreamed({
      source,
      network,
      programs,
      types,
      disk,
      check,
      batches: inBatches(text.calibration, network.batch),
      validation: inBatches(text.validation, network.batch),
      spill: plan.spillBytes > 0 ? streamsFolder(this.options.output) : undefined,
      onProgress: this.onBlock,
    })
    const seconds = (performance.now() - began) / 1000
    const better = result.after.mean < result.before.mean
    this.stages.push({ stage: 'blockwise', seconds, kld: result.after, taken: better })
    const trained: TrainedTensors = async (name) => {
      const layer = /^blk\.(\d+)\./.exec(name)?.[1]
      return layer === undefined ? undefined : disk.bytes(`block-${layer}`, name)
    }
    const curve = [{ step: 0, ...result.before }]
    const progress: Progress = { step: 0, steps: 0, seconds, elapsed: 0, validating: 0, curve }
    return this.write(progress, text, result, better ? trained : async () => undefined, better)
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
    const steps =
      plan.method === 'blockwise'
        ? 0
        : (options.steps ?? (options.seconds === undefined ? defaultSteps : undefined))
    const progress = resumed ?? { step: 0, steps, seconds: 0, elapsed: 0, validating: 0, curve: [] }
    if (!resumed) {
      const began = performance.now()
      const mayStop = () => this.mayStop(0, network.config.layers)
      progress.curve.push({ step: 0, ...(await distillation.validate(text.validation, mayStop)) })
      progress.validating = (performance.now() - began) / 1000
      if (options.steps !== 0 || plan.method === 'blockwise')
        await this.solve(distillation, student, text, progress, disk)
    } else {
      this.stages.push(...(progress.stages ?? []))
      await distillation.round()
    }
    const [before] = progress.curve
    const solved = this.stages.find(({ taken }) => taken)?.kld ?? before
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
    let after: MeanError = solved
    if (progress.step > 0 && plan.method !== 'blockwise') {
      const { mean, se } = progress.curve[progress.curve.length - 1]
      const seconds = progress.seconds - solvingSeconds(this.stages)
      const { kept, kld: now } = await this.bestOf(student, disk, { before, solved, trained: { mean, se } })
      if (kept === 'ptq')
        for (const [i, stage] of this.stages.entries()) this.stages[i] = { ...stage, taken: false }
      this.stages.push({ stage: plan.method, seconds, kld: { mean, se }, taken: kept === 'trained' })
      after = now
    }
    const trained = this.stages.length === 0 || this.stages.some(({ taken }) => taken)
    const tensors = trainedParameters(trained ? student.parameters : [], programs, this.check)
    return this.write(progress, text, { before, after }, tensors, trained)
  }

  /**
   * Leaves what the last stage made where it is better than before it, and takes the parameters back otherwise. Where the finished blocks
   * are gone by then, the better of what is left stays: what was trained, or the PTQ weights.
   */
  private async bestOf(
    student: Student,
    disk: BlocksOnDisk,
    kld: Readonly<Record<'before' | 'solved' | 'trained', MeanError>>,
  ): Promise<{ kept: 'trained' | 'solved' | 'ptq'; kld: MeanError }> {
    const { network, programs } = this
    const { before, solved, trained } = kld
    if (trained.mean < solved.mean) return { kept: 'trained', kld: trained }
    const blockwise = this.stages.some(({ stage, taken }) => stage === 'blockwise' && taken)
    if (blockwise && !hasBlocks(student, network, disk) && trained.mean < before.mean)
      return { kept: 'trained', kld: trained }
    for (const p of student.parameters) p.codes = undefined
    if (!blockwise) await this.startAnew(student)
    else if (!(await loadBlocks(student, network, disk, programs))) return { kept: 'ptq', kld: before }
    return { kept: 'solved', kld: solved }
  }

  /** Gives the parameters the reference quantizer's codes. */
  private async startAnew({ parameters }: Student): Promise<void> {
    const plain = await makeStudent(this.source, this.types, this.untrained)
    for (const [i, p] of parameters.entries()) {
      p.restart(plain.parameters[i].latents)
      await this.programs.round(p)
    }
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
    const began = performance.now()
    this.onBlock(0, network.config.layers)
    const outputs = await distillation.fisher(windows, () => this.mayStop(0, network.config.layers))
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
      onProgress: this.onBlock,
    })
    await network.dispose()
    if (!this.options.teacher) distillation.cache.moments.clear()
    const validated = performance.now()
    const kld = await distillation.validate(text.validation)
    // The first one compiled more, and let the teacher read the held-out text.
    progress.validating = Math.min(progress.validating, (performance.now() - validated) / 1000)
    const taken = kld.mean < progress.curve[0].mean
    if (!taken) await this.startAnew(student)
    const seconds = (performance.now() - began) / 1000
    progress.seconds += seconds
    this.stages.push({ stage: 'blockwise', seconds, kld, taken })
    progress.stages = [...this.stages]
  }

  /** Writes the file and says what is in it. */
  private async write(
    progress: Progress,
    text: RunText,
    { before, after }: StreamedResult,
    tensors: TrainedTensors,
    trained: boolean,
  ): Promise<TrainReport> {
    const { source, options, plan, network, types, check } = this
    const { output, type } = options
    const seen = progress.step * network.tokens
    // Of a last stage that was undone nothing is in the file.
    const kept = this.stages.at(-1)?.taken ? progress.step : 0
    const metadata = new Metadata(output, source.gguf.metadata)
      .set('general.file_type', { type: 'uint32', value: recipes[type].fileType })
      .set('general.quantization_version', { type: 'uint32', value: 2 })
      .set(inputKey, { type: 'string', value: source.fingerprint })
    const taken = this.stages.filter((stage) => stage.taken).map(({ stage }) => stage)
    if (taken.length > 0)
      metadata
        .set('quench.method', { type: 'string', value: taken.join('+') })
        .set('quench.steps', { type: 'uint32', value: kept })
        .set('quench.tokens', { type: 'uint64', value: BigInt(kept * network.tokens) })
        .set('quench.validation_kld_before', { type: 'float32', value: before.mean })
        .set('quench.validation_kld_after', { type: 'float32', value: after.mean })
    await exportModel(source.gguf, output, metadata, types, tensors)
    const { bytes, bitsPerWeight } = await summarizeFile(output)
    const trainingSeconds = progress.seconds - solvingSeconds(this.stages)
    return {
      path: output,
      type,
      bytes,
      bitsPerWeight,
      written: trained ? 'qat' : 'ptq',
      method: plan.method,
      weights: {
        trained: sizesOf(source, this.untrained).trained,
        all: sizesOf(source).all,
        untrained: plan.untrained,
      },
      plan,
      stages: this.stages,
      steps: progress.step,
      peakBytes: process.resourceUsage().maxRSS * 1024,
      tokens: seen,
      distinctTokens: Math.min(seen, text.windows.length * network.batch.length),
      text: text.report.text,
      textTokens: {
        files: text.report.fileTokens,
        selfWritten: text.report.selfWrittenTokens,
        distinct4: text.report.distinct4,
      },
      seconds: progress.seconds,
      tokensPerSecond: trainingSeconds > 0 ? seen / trainingSeconds : 0,
      validation: progress.curve,
      recovered: 1 - after.mean / before.mean,
      check,
    }
  }
}

const solvingSeconds = (stages: readonly StageReport[]): number =>
  stages.find(({ stage }) => stage === 'blockwise')?.seconds ?? 0
