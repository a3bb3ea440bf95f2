/**
 * The block-wise method: one block after another is solved (solve.ts), on hidden states that have passed through the blocks solved
 * before and on the teacher's. If the model does not fit in memory, only one block and the tensors outside the blocks are held:
 * weights are read from the file, and hidden states may be on disk.
 *
 * Every finished block is saved (blocks-on-disk.ts). A resumed run loads the saved blocks, passes the hidden states through them and
 * continues with the next, to the same result.
 */

import type { DeviceBuffer, DeviceWeights } from '../backends/backend.js'
import { Products } from '../backends/products.js'
import { withCleanup } from '../cleanup.js'
import { joinWindows } from '../data/windows.js'
import type { Network } from '../engine/network.js'
import { QuenchError } from '../errors.js'
import type { Parameter } from '../optimizer/parameter.js'
import { blocksUseImportance } from '../quantize/needs-importance.js'
import type { BlocksOnDisk } from '../resume/blocks-on-disk.js'
import type { ExportCheck } from '../student/export.js'
import type { Source } from '../student/source.js'
import { makeBlock, type Student } from '../student/student.js'
import { StudentWeights } from '../student/student-weights.js'
import { threadCount } from '../threads.js'
import {
  type Divergence,
  divergenceOf,
  inWholeBatches,
  type KindWindows,
  windowMeans,
} from '../validation/validation.js'
import { advance, advanceSides, start } from './advance.js'
import { type HiddenStates, HiddenStatesInMemory, HiddenStatesOnDisk } from './hidden-states.js'
import type { SolvingPace } from './pace.js'
import { WorkerRows } from './row-pool.js'
import {
  type Advanced,
  type Side,
  type Sides,
  type Solvable,
  type Solver,
  solveBlock,
  solveHead,
} from './solve.js'

interface Options {
  readonly source: Source
  readonly network: Network
  /** The model in full precision on the device. */
  readonly teacher: DeviceWeights
  /** Whole batches of tokens to solve on. */
  readonly batches: readonly Int32Array[]
  /** Batches that decide among the candidates of a matrix, and the tokens at which their kinds of text begin and end. */
  readonly trial: { readonly batches: readonly Int32Array[]; readonly bounds: readonly number[] }
  /** Whether activations inside a block are kept from one group of matrices to the next. */
  readonly keeps: boolean
  /** Where finished blocks are saved. */
  readonly disk: BlocksOnDisk
  /** Decides on how many batches a block is solved. Default: all. */
  readonly pace?: SolvingPace | undefined
  /** Called when the blocks from a layer on are solved on fewer batches than those before; 0: they are not solved. */
  readonly onCut?: (layer: number, batches: number) => void
  /** Called with the number of blocks done, which may be fractional, of `total`. May throw to stop the run. */
  readonly onProgress?: (done: number, total: number) => void
  /** Called after every block that is solved and passed through, but not for those that an earlier run has saved. */
  readonly onSolved?: (layer: number, seconds: number) => void
}

/** With the whole student in memory; its parameters take the result. */
export interface InMemoryOptions extends Options {
  readonly student: Student
  readonly weights: DeviceWeights
  /** Second moments of the loss's gradients at the matrices' outputs, by tensor. */
  readonly outputs: ReadonlyMap<string, Float32Array>
}

/** With one block in memory at a time; the result is on disk. */
export interface OneBlockOptions extends Options {
  readonly types: ReadonlyMap<string, number>
  /** Mean squares of the matrices' inputs, by tensor. */
  readonly importance: ReadonlyMap<string, Float32Array>
  readonly validation: readonly KindWindows[]
  /** A folder for hidden states that do not fit in memory. */
  readonly spill: string | undefined
  readonly check: ExportCheck
}

export async function solveInMemory(options: InMemoryOptions): Promise<void> {
  const { source, teacher, network, student, weights, outputs, batches, trial, keeps } = options
  const { disk, onProgress } = options
  const products = new Products(network.backend, network.keepsMemory)
  const rows = new WorkerRows(threadCount())
  await withCleanup(async (defer) => {
    defer(() => rows.dispose())
    defer(() => products.dispose())
    const { bounds } = trial
    const { path } = source.gguf
    const full = source.weights
    const solver: Solver = { path, full, network, products, rows, outputs, bounds, keeps }
    const [[, outside], ...blocks] = parts(student, network)
    if (!(await disk.loadLatents('outside', outside))) {
      await disk.reserveLatents('outside', outside)
      await solveHead(solver, { batches, trial: trial.batches }, teacher, byName(outside))
      await disk.saveLatents('outside', outside)
    }
    const sideOf = async (of: DeviceWeights): Promise<Side> => ({
      weights: of,
      states: await start(network, batches, of, new HiddenStatesInMemory()),
      trial: await start(network, trial.batches, of, new HiddenStatesInMemory()),
    })
    const sides = { student: await sideOf(weights), teacher: await sideOf(teacher) }
    const { layers } = network.config
    for (const [layer, [name, block]] of blocks.entries()) {
      onProgress?.(layer, layers)
      const began = performance.now()
      let done: Advanced | undefined
      if (!(await disk.loadLatents(name, block))) {
        await disk.reserveLatents(name, block)
        const report = (share: number): void => onProgress?.(layer + share, layers)
        if (paced(options, layer, sides)) done = await solveBlock(solver, layer, sides, byName(block), report)
        await disk.saveLatents(name, block)
      }
      await advanceSides(network, layer, sides, done)
      if (done) solved(options, layer, sides, began)
    }
    onProgress?.(layers, layers)
  })
}

/** Cuts the hidden states to the batches that there is time for. Returns false if the block is not solved. */
function paced({ network, pace, onCut }: Options, layer: number, { student, teacher }: Sides): boolean {
  const { count } = student.states
  const batches = pace?.batches(network.config.layers - layer, count) ?? count
  if (batches < count) {
    onCut?.(layer, batches)
    for (const { states } of [student, teacher]) states.keep(batches)
  }
  return batches > 0
}

function solved({ pace, onSolved }: Options, layer: number, { student }: Sides, began: number): void {
  const seconds = secondsSince(began)
  pace?.took(seconds, student.states.count)
  onSolved?.(layer, seconds)
}

const secondsSince = (began: number): number => (performance.now() - began) / 1000

/** Whether a student's whole solution is on disk. */
export const hasBlocks = (student: Student, network: Network, disk: BlocksOnDisk): boolean =>
  parts(student, network).every(([name]) => disk.has(name))

/** Loads a student's solution from disk; returns false if a part of it is missing or damaged. */
export async function loadBlocks(student: Student, network: Network, disk: BlocksOnDisk): Promise<boolean> {
  try {
    for (const [name, parameters] of parts(student, network))
      if (!(await disk.loadLatents(name, parameters))) return false
    return true
  } catch (error) {
    if (error instanceof QuenchError) return false
    throw error
  }
}

/** The parts in which a student is saved: the tensors outside the blocks, and each block. */
function parts({ parameters }: Student, { config }: Network): [name: string, parameters: Parameter[]][] {
  const blocks = Array.from({ length: config.layers }, (_, layer): [string, Parameter[]] => [
    `block-${layer}`,
    parameters.filter(({ name }) => name.startsWith(`blk.${layer}.`)),
  ])
  return [['outside', parameters.filter(({ name }) => !name.startsWith('blk.'))], ...blocks]
}

/** Divergence on the validation text of the reference quantizer, without and with importances (which may count for nothing), and of the solution. */
export interface OneBlockResult {
  readonly plain: Divergence
  readonly weighed: Divergence
  readonly solved: Divergence
}

export function solveOneBlockAtATime(options: OneBlockOptions): Promise<OneBlockResult> {
  const { source, types, importance, network, batches, trial, validation, disk, onProgress } = options
  const { spill, check, teacher, keeps } = options
  const { backend } = network
  const products = new Products(network.backend, network.keepsMemory)
  const rows = new WorkerRows(threadCount())
  return withCleanup(async (defer) => {
    defer(() => rows.dispose())
    defer(() => products.dispose())
    const begin = async (
      label: string,
      tokens: readonly Int32Array[],
      weights: DeviceWeights,
    ): Promise<HiddenStates> => {
      const states =
        spill === undefined ? new HiddenStatesInMemory() : new HiddenStatesOnDisk(backend, spill, label)
      defer(() => states.dispose())
      return start(network, tokens, weights, states)
    }
    // Only matrices in blocks have importances, so tensors outside the blocks are the same for all three.
    const outer = new Map<string, DeviceBuffer>()
    const [plain, weighed, own] = [1, 2, 3].map(() => new StudentWeights(backend, source, types, outer))
    const weighs = blocksUseImportance(types)
    const { path } = source.gguf
    const { bounds } = trial
    const full = source.weights
    const outputs = new Map<string, Float32Array>()
    const solver: Solver = { path, full, network, products, rows, outputs, bounds, keeps }
    const sideOf = async (label: string, weights: DeviceWeights): Promise<Side> => ({
      weights,
      states: await begin(label, batches, weights),
      trial: await begin(`trial-${label}`, trial.batches, weights),
    })
    const sides = { student: await sideOf('student', own), teacher: await sideOf('teacher', teacher) }
    const held = inWholeBatches(validation, network.batch.windows).map(joinWindows)
    const heldOf = async (label: string, weights: DeviceWeights) => ({
      weights,
      states: await begin(`held-${label}`, held, weights),
    })
    const seen = {
      plain: await heldOf('plain', plain),
      ...(weighs && { weighed: await heldOf('weighed', weighed) }),
      own: await heldOf('own', own),
      teacher: await heldOf('teacher', teacher),
    }
    const { layers } = network.config
    for (let layer = 0; layer < layers; layer++) {
      onProgress?.(layer, layers)
      const began = performance.now()
      const block = await makeBlock(backend, source, types, layer)
      plain.take(block)
      await advance(network, layer, seen.plain.states, plain)
      const better = weighs ? await makeBlock(backend, source, types, layer, importance) : block
      own.take(better)
      if (seen.weighed) {
        weighed.take(better)
        await advance(network, layer, seen.weighed.states, weighed)
      }
      let done: Advanced | undefined
      if (!(await disk.loadCodes(`block-${layer}`, better.parameters))) {
        const report = (share: number): void => onProgress?.(layer + share, layers)
        await disk.reserveCodes(`block-${layer}`, better.parameters)
        if (paced(options, layer, sides))
          done = await solveBlock(solver, layer, sides, byName(better.parameters), report)
        await disk.saveCodes(`block-${layer}`, better.parameters, check)
      }
      await advanceSides(network, layer, sides, done)
      for (const { weights, states } of [seen.own, seen.teacher])
        await advance(network, layer, states, weights)
      if (done) solved(options, layer, sides, began)
    }
    onProgress?.(layers, layers)
    const divergence = async ({ states, weights }: { states: HiddenStates; weights: DeviceWeights }) => {
      const means: number[] = []
      for (let i = 0; i < states.count; i++) {
        const hidden = seen.teacher.states.get(i).x
        backend.copy(network.output, states.get(i).x)
        const losses = await network.losses(weights, { kind: 'teacher', weights: teacher, hidden })
        means.push(...windowMeans(losses, network.batch.length))
      }
      return divergenceOf(validation, means)
    }
    const ofPlain = await divergence(seen.plain)
    return {
      plain: ofPlain,
      weighed: seen.weighed ? await divergence(seen.weighed) : ofPlain,
      solved: await divergence(seen.own),
    }
  })
}

const byName = (parameters: readonly Solvable[]): Map<string, Solvable> =>
  new Map(parameters.map((p) => [p.name, p]))
