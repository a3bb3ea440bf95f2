/** State that all parts of a run share. */
import type { DeviceWeights } from '../backends/backend.js'
import { importanceOf } from '../blockwise/importance.js'
import { SolvingPace } from '../blockwise/pace.js'
import { defaults } from '../config/defaults.js'
import { blockwise, trainingOf } from '../config/methods.js'
import type { TrainEvent, TrainOptions } from '../config/options.js'
import { deviceNameOf, type Plan } from '../config/plan.js'
import { digest } from '../data/order.js'
import { joinWindows } from '../data/windows.js'
import type { Network } from '../engine/network.js'
import { QuenchError } from '../errors.js'
import type { Batch } from '../models/architecture.js'
import type { Optimizer } from '../optimizer/parameter.js'
import { sizesOf } from '../plan/memory.js'
import { originsOf, Provenance } from '../provenance/provenance.js'
import type { ModelImportance } from '../quantize/imatrix/of-model.js'
import { BlocksOnDisk } from '../resume/blocks-on-disk.js'
import { blocksFolder } from '../resume/disk.js'
import type { Settings } from '../resume/settings.js'
import type { ExportCheck } from '../student/export.js'
import { type Source, targetTypes } from '../student/source.js'
import type { Importance } from '../student/student.js'
import type { RunText } from '../training-text/run-text.js'
import { inWholeBatches, type KindWindows } from '../validation/validation.js'
import type { Prepared } from './prepare.js'

/** Share of the time that is left for the block-wise stage if steps follow. */
const solvingShare = 0.85
/** Share of the time that it may be late. */
const slack = 0.03
/** Fewer tokens are not worth solving on. */
const leastTokens = 1024

export class RunContext {
  readonly check: ExportCheck = { tensors: 0, weights: 0, differing: 0 }
  /** The ggml type of every tensor. */
  readonly types: ReadonlyMap<string, number>
  readonly rates: { readonly weightRate: number; readonly scaleRate: number }
  readonly settings: Settings
  /** Whether `options.onBlock` has been called. */
  private told = false
  private known: Promise<Importance> | undefined
  readonly disk: BlocksOnDisk
  /** What the output says of how it was made. */
  readonly provenance: Provenance

  readonly source: Source
  readonly teacher: DeviceWeights
  readonly plan: Plan
  readonly network: Network
  readonly optimizer: Optimizer
  readonly imatrix: ModelImportance | undefined

  /**
   * @param options with the sizes of the text that the plan has settled
   * @param began when the command began, by `performance.now`
   */
  constructor(
    { source, teacher, plan, network, optimizer, settings, imatrix }: Prepared,
    readonly options: TrainOptions,
    readonly text: RunText,
    readonly began: number,
  ) {
    this.source = source
    this.teacher = teacher
    this.plan = plan
    this.network = network
    this.optimizer = optimizer
    this.imatrix = imatrix
    this.types = targetTypes(source, options)
    this.rates = {
      weightRate: options.weightRate ?? defaults.weightRate,
      scaleRate: options.scaleRate ?? defaults.scaleRate,
    }
    const { windows, importance, trial, validation } = text
    this.settings = {
      ...settings,
      tokens: options.tokens ?? null,
      calibration: options.calibration ?? null,
      method: plan.method,
      device: deviceNameOf(plan),
      untrained: plan.untrained.join(' '),
      teacherTopK: plan.teacher.topK,
      inMemory: plan.inMemory,
      text: digest([...windows, ...[...importance, ...trial, ...validation].flatMap((kind) => kind.windows)]),
    }
    this.disk = new BlocksOnDisk(blocksFolder(options.output), this.settings)
    const { layout: _, model: __, read: ___, inMemory: ____, imatrix: _____, ...recorded } = this.settings
    this.provenance = new Provenance({
      command: 'train',
      options: recorded,
      origins: originsOf(source.gguf.files, options.imatrix),
      input: source.gguf.metadata,
    })
  }

  /** Mean squares of the inputs of the blocks' matrices: of `--imatrix`, or on general text. */
  importance(): Promise<Importance> {
    const { network, teacher, text, source } = this
    if (this.imatrix) return Promise.resolve(ofBlocks(this.imatrix.importance))
    const compute = async (): Promise<Importance> => {
      const batches = batchesOf(text.importance, network.batch)
      const told = this.during('importance', network.tokens / network.config.layers)
      const all = await importanceOf(network, batches, teacher, told)
      return ofBlocks(all)
    }
    const { columns } = sizesOf(source)
    this.known ??= this.disk.arrays('importance', (name) => this.shapeOf(name)?.[0], 4 * columns, compute)
    return this.known
  }

  /** Fisher information at the outputs of the blocks' matrices. */
  fisher(compute: () => Promise<Importance>): Promise<Importance> {
    const lengthOf = (name: string): number | undefined => {
      const outputs = this.shapeOf(name)?.[1]
      return outputs && outputs ** 2
    }
    return this.disk.arrays('fisher', lengthOf, 4 * sizesOf(this.source).squares, compute)
  }

  /** The shape of a tensor of the input, row length first. */
  private shapeOf(name: string): readonly number[] | undefined {
    const { gguf } = this.source
    return gguf.has(name) ? gguf.tensor(name).shape : undefined
  }

  /** The batches that decide among candidates of a matrix, and the tokens at which their kinds of text begin and end. */
  get trial(): { batches: Int32Array[]; bounds: number[] } {
    const { text, network } = this
    const bounds = [0]
    for (const { windows } of text.trial)
      bounds.push((bounds.at(-1) as number) + windows.length * network.batch.length)
    return { batches: batchesOf(text.trial, network.batch), bounds }
  }

  /** Reports progress in parts of `tokens` tokens each. */
  during(stage: TrainEvent['stage'], tokens: number): (done: number, total: number) => void {
    return (done, total) => {
      this.mayStop()
      const [doneTokens, totalTokens] = [Math.round(done * tokens), Math.round(total * tokens)]
      this.options.onProgress?.({ stage, done: doneTokens, total: totalTokens, tokens: totalTokens })
    }
  }

  readonly onBlock = (done: number, total: number): void => {
    this.mayStop(done)
    this.options.onProgress?.({ stage: blockwise, done, total, tokens: this.solvingTokens })
  }

  /**
   * Keeps the block-wise stage, which begins now, within its share of `--time`, but leaves it the time that was planned.
   * @param after seconds that validation takes after it
   */
  pace(after: number): SolvingPace | undefined {
    const { plan, options, network } = this
    if (options.seconds === undefined) return undefined
    const now = performance.now()
    const planned = plan.stages.find(({ stage }) => stage === blockwise)?.seconds ?? 0
    const left = this.began + 1000 * (options.seconds - after) - now
    const share = trainingOf(plan.method) ? solvingShare : 1
    const until = now + Math.max(share * left, 1000 * planned)
    return new SolvingPace(until, Math.ceil(leastTokens / network.tokens), 1000 * slack * options.seconds)
  }

  readonly onCut = (layer: number, batches: number): void => {
    const { layers } = this.network.config
    const [tokens, all] = [batches * this.network.tokens, this.solvingTokens]
    const one = layer === layers - 1
    const blocks = one ? `block ${layers} of ${layers}` : `blocks ${layer + 1} to ${layers} of ${layers}`
    this.options.onWarning?.(
      batches > 0
        ? `to keep --time, ${blocks} ${one ? 'is' : 'are'} solved on ${tokens} of ${all} tokens`
        : `there is no time left to solve ${blocks}; what PTQ makes of ${one ? 'it' : 'them'} stays`,
    )
  }

  /** The first block that this process solves corrects the plan's projection. */
  readonly onSolved = (layer: number, seconds: number): void => {
    if (this.told) return
    this.told = true
    const { layers } = this.network.config
    const blocksLeft = layers - layer - 1
    this.options.onBlock?.({
      seconds,
      tokensPerSecond: this.solvingTokens / (seconds * layers),
      left: seconds * blocksLeft,
      blocksLeft,
      peakBytes: process.resourceUsage().maxRSS * 1024,
    })
  }

  /** Tokens that each block is solved on. */
  private get solvingTokens(): number {
    return this.text.calibration.length * this.network.batch.length
  }

  /** @throws QuenchError if the run is to stop */
  private mayStop(block?: number): void {
    if (!this.options.signal?.aborted) return
    const where =
      block === undefined ? '' : ` in block ${Math.floor(block) + 1} of ${this.network.config.layers}`
    throw new QuenchError(`stopped${where}; the same command with --resume goes on from there`)
  }
}

const ofBlocks = (importance: Importance): Importance =>
  new Map([...importance].filter(([name]) => name.startsWith('blk.')))

const batchesOf = (text: readonly KindWindows[], { windows }: Batch): Int32Array[] =>
  inWholeBatches(text, windows).map(joinWindows)
