/** A run with the whole student in memory: a block-wise solution first, then training end to end. */

import { hasBlocks, loadBlocks, solveInMemory } from '../blockwise/blockwise.js'
import { fisherOf } from '../blockwise/fisher.js'
import { defaults } from '../config/defaults.js'
import { blockwise, trainingOf } from '../config/methods.js'
import { Distillation } from '../distill/distillation.js'
import { trainSteps } from '../distill/steps.js'
import { TeacherCache } from '../engine/teacher-cache.js'
import { MomentFile } from '../optimizer/adam-state-file.js'
import { usesFisher } from '../plan/memory.js'
import { teacherCacheBytes } from '../plan/step-cost.js'
import { blocksUseImportance } from '../quantize/needs-importance.js'
import { checkpointExists, checkpointPath, loadCheckpoint, type Progress } from '../resume/checkpoint.js'
import { momentsPath, teacherPath } from '../resume/disk.js'
import { type TrainedTensors, trainedParameters } from '../student/export.js'
import { type Importance, makeStudent, restart, type WholeStudent } from '../student/student.js'
import { inBatches } from '../training-text/run-text.js'
import { type Opponent, opponentOf, type Validated } from '../validation/opponent.js'
import { type Divergence, meanOf } from '../validation/validation.js'
import type { RunContext } from './context.js'
import { type Stage, type StageResult, type State, solvingSeconds } from './stages.js'

export class InMemory implements State {
  private constructor(
    private readonly run: RunContext,
    private readonly student: WholeStudent,
    private readonly distillation: Distillation,
    readonly progress: Progress,
    /** Resumed from a checkpoint: stock and the block-wise solution are validated already, and the parameters restored. */
    private readonly resumed: boolean,
  ) {}

  /** Makes the student, and loads the checkpoint if the run resumes from one. */
  static async open(run: RunContext): Promise<InMemory> {
    const { source, teacher, network, optimizer, plan, options, types } = run
    const student = await makeStudent(network.backend, source, types, new Set(plan.untrained))
    const { parameters, weights } = student
    if (plan.momentBytes > 0)
      optimizer.moments = await MomentFile.create(momentsPath(options.output), parameters)
    const spare = plan.memory - Math.max(...plan.stages.map(({ bytes }) => bytes))
    const kept = Math.max(0, Math.min(teacherCacheBytes(plan.memory), spare))
    const cache = options.teacher ?? new TeacherCache(kept)
    const distillation = new Distillation(network, teacher, cache, parameters, optimizer, weights)
    await distillation.round()
    const resumed = (options.resume ?? false) && (await checkpointExists(options.output))
    const progress = resumed ? await loaded(run, student) : begun(run)
    return new InMemory(run, student, distillation, progress, resumed)
  }

  get stages(): Stage[] {
    const { method } = this.run.plan
    const solving: Stage = { name: blockwise, run: () => this.solve() }
    const training: Stage = { name: method, run: () => this.train() }
    return [...(this.resumed ? [] : [solving]), ...(trainingOf(method) ? [training] : [])]
  }

  /** Validates the reference quantizer's files, and sets the parameters to the better one. */
  async prepare(): Promise<void> {
    if (this.resumed) return
    const { distillation, progress, run } = this
    const { text, network } = run
    let quantized: Opponent['kind'] = 'plain'
    const { plain, weighed, validating } = await run.disk.value('stock', async () => {
      const told = run.during('validate', network.tokens)
      const began = performance.now()
      const plain = await distillation.validate(text.validation, told)
      const validating = (performance.now() - began) / 1000
      if (!blocksUseImportance(run.types)) return { plain, weighed: plain, validating }
      await this.quantize(await run.importance())
      quantized = 'importance'
      return { plain, weighed: await distillation.validate(text.validation, told), validating }
    })
    progress.curve.push({ step: 0, ...meanOf(plain) })
    progress.validating = validating
    const opponent = opponentOf(plain, weighed)
    if (opponent.kind !== quantized)
      await this.quantize(opponent.kind === 'importance' ? await run.importance() : undefined)
    progress.validated = { plain, weighed, opponent, kept: undefined }
  }

  /** The block-wise stage; undefined if it is skipped. */
  private async solve(): Promise<StageResult | undefined> {
    const { run, distillation, student, progress } = this
    const { source, teacher, network, text, plan, options, disk } = run
    const windows = text.calibration
    if (windows.length === 0 || (options.steps === 0 && trainingOf(plan.method))) return undefined
    const began = performance.now()
    const outputs = usesFisher(source)
      ? await run.fisher(() =>
          fisherOf(network, teacher, distillation.cache, windows, run.during('fisher', 1)),
        )
      : new Map<string, Float32Array>()
    await network.dispose() // of the programs that only Fisher information needs
    run.onBlock(0, network.config.layers)
    await solveInMemory({
      source,
      teacher,
      network,
      student,
      disk,
      weights: distillation.student,
      outputs,
      batches: inBatches(windows, network.batch),
      trial: run.trial,
      keeps: plan.keepsActivations,
      pace: run.pace(progress.validating),
      onCut: run.onCut,
      onProgress: run.onBlock,
      onSolved: run.onSolved,
    })
    await network.dispose()
    if (!options.teacher) distillation.cache.fisher.clear()
    const validated = performance.now()
    const validating = run.during('validate', network.tokens)
    const divergence = await distillation.validate(text.validation, validating)
    // The first validation also compiled programs and ran the teacher on the held-out text.
    progress.validating = Math.min(progress.validating, (performance.now() - validated) / 1000)
    const seconds = (performance.now() - began) / 1000
    progress.seconds += seconds
    return { seconds, divergence }
  }

  /** The remaining steps. */
  private async train(): Promise<StageResult | undefined> {
    const { distillation, progress, resumed, student } = this
    const { source, optimizer, plan, options, text, rates, settings, began } = this.run
    if (trainingOf(plan.method)?.freezesCodes && !resumed)
      for (const p of student.parameters) await optimizer.freezeCodes(p)
    await distillation.round()
    const path = teacherPath(options.output)
    const { order, validation, windows } = text
    const { topK } = plan.teacher
    const top = topK > 0 ? { path, teacher: source.fingerprint, windows, k: topK } : undefined
    await trainSteps(
      {
        ...{ distillation, top, order, validation, options, rates, settings, resumed },
        began: began - 1000 * progress.elapsed,
      },
      progress,
    )
    if (progress.step === 0) return undefined
    return { seconds: progress.seconds - solvingSeconds(progress), divergence: progress.last as Divergence }
  }

  holdsBlocks(): boolean {
    return hasBlocks(this.student, this.run.network, this.run.disk)
  }

  async restore(to: 'blocks' | 'stock'): Promise<boolean> {
    const { run } = this
    for (const p of this.student.parameters) p.release()
    if (to === 'blocks') return loadBlocks(this.student, run.network, run.disk)
    const { opponent } = this.progress.validated as Validated
    await this.quantize(opponent.kind === 'importance' ? await run.importance() : undefined)
    return true
  }

  tensors(): TrainedTensors {
    const { check } = this.run
    return trainedParameters(this.student.parameters, check)
  }

  /** Sets the parameters to the reference quantizer's codes. */
  private async quantize(importance: Importance | undefined): Promise<void> {
    const { source, types } = this.run
    for (const p of this.student.parameters) {
      await restart(source, types, p, importance)
      await p.round()
    }
  }
}

/** The progress of a new run. */
function begun({ plan, options }: RunContext): Progress {
  const asked = options.steps ?? (options.seconds === undefined ? defaults.steps : undefined)
  const steps = trainingOf(plan.method) ? asked : 0
  return { step: 0, steps, seconds: 0, elapsed: 0, validating: 0, curve: [] }
}

/** Loads the state of the checkpoint. */
async function loaded(run: RunContext, { parameters }: WholeStudent): Promise<Progress> {
  const { options, plan, optimizer, settings } = run
  const path = checkpointPath(options.output)
  if (trainingOf(plan.method)?.freezesCodes) for (const p of parameters) await optimizer.freezeCodes(p) // the checkpoint's replace them
  return loadCheckpoint<Progress>(path, parameters, settings, optimizer.moments)
}
