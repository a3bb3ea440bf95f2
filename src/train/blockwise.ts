/**
 * The block-wise method: block after block is solved for (solve.ts) on the streams that have passed through the blocks solved
 * before, beside those of the teacher. Where the model does not fit in memory, no more of it than a block and the tensors
 * outside the blocks need be there: weights are read from the file, streams may lie on disk.
 *
 * Every finished block is saved (blocks-on-disk.ts). A run that was killed takes those that are there, carries the streams
 * through them and goes on with the next, to the same result.
 */
import { withCleanup } from '../cleanup.js'
import { QuenchError } from '../errors.js'
import type { Weights } from '../models/weights.js'
import { WorkerRows } from '../quantize/row-pool.js'
import { Products } from '../runtime/products.js'
import { threadCount } from '../threads.js'
import type { BlocksOnDisk } from './blocks-on-disk.js'
import { type MeanError, meanError } from './estimate.js'
import type { ExportCheck } from './export.js'
import type { Network } from './network.js'
import type { Parameter, ParameterPrograms } from './parameter.js'
import { type Solver, solveBlock, solveHead } from './solve.js'
import { makeBlock, type Source, type Student } from './source.js'
import { DiskStreams, MemoryStreams, type Streams } from './streams.js'
import { StudentWeights } from './student-weights.js'

interface Options {
  readonly source: Source
  readonly network: Network
  readonly programs: ParameterPrograms
  /** Whole batches of tokens to solve on. */
  readonly batches: readonly Int32Array[]
  /** Where finished blocks are saved. */
  readonly disk: BlocksOnDisk
  /** The share of blocks that is done is `done / total`. May throw to stop the run. */
  readonly onProgress?: (done: number, total: number) => void
}

/** With the whole student in memory: its parameters take the result. */
export interface WholeOptions extends Options {
  readonly student: Student
  readonly weights: Weights
  /** Second moments of the loss's gradients at the matrices' outputs, by tensor. */
  readonly outputs: ReadonlyMap<string, Float32Array>
}

/** With one block in memory at a time: the result is on disk. */
export interface StreamedOptions extends Options {
  readonly types: ReadonlyMap<string, number>
  /** Held-out batches. */
  readonly validation: readonly Int32Array[]
  /** A folder for streams that do not fit in memory. */
  readonly spill: string | undefined
  readonly check: ExportCheck
}

export async function solveWhole(options: WholeOptions): Promise<void> {
  const { source, network, programs, student, weights, outputs, batches, disk, onProgress } = options
  const products = new Products(network.keepsMemory)
  const rows = new WorkerRows(threadCount())
  await withCleanup(async (defer) => {
    defer(() => rows.dispose())
    defer(() => products.dispose())
    const solver: Solver = { path: source.gguf.path, network, programs, products, rows, outputs }
    const check = { tensors: 0, weights: 0, differing: 0 }
    const [[, outside], ...blocks] = parts(student, network)
    if (!(await disk.load('outside', outside, programs))) {
      await disk.reserve('outside', outside)
      await solveHead(solver, batches, source.weights, byName(outside))
      await disk.save('outside', outside, programs, check)
    }
    const sides = {
      student: { weights, streams: await start(network, batches, weights, new MemoryStreams()) },
      teacher: {
        weights: source.weights,
        streams: await start(network, batches, source.weights, new MemoryStreams()),
      },
    }
    const { layers } = network.config
    for (const [layer, [name, block]] of blocks.entries()) {
      onProgress?.(layer, layers)
      if (!(await disk.load(name, block, programs))) {
        await disk.reserve(name, block)
        await solveBlock(solver, layer, sides, byName(block), (share) => onProgress?.(layer + share, layers))
        await disk.save(name, block, programs, check)
      }
      for (const side of Object.values(sides)) await advance(network, layer, side.streams, side.weights)
    }
    onProgress?.(layers, layers)
  })
}

/** Whether the solution for all of a student is on disk. */
export const hasBlocks = (student: Student, network: Network, disk: BlocksOnDisk): boolean =>
  parts(student, network).every(([name]) => disk.has(name))

/** Gives a student the solution again that is on disk; false where a part of it is not there or damaged. */
export async function loadBlocks(
  student: Student,
  network: Network,
  disk: BlocksOnDisk,
  programs: ParameterPrograms,
): Promise<boolean> {
  try {
    for (const [name, parameters] of parts(student, network))
      if (!(await disk.load(name, parameters, programs))) return false
    return true
  } catch (error) {
    if (error instanceof QuenchError) return false
    throw error
  }
}

/** A student in the parts that are saved: what is outside the blocks, and every block. */
function parts({ parameters }: Student, { config }: Network): [name: string, parameters: Parameter[]][] {
  const blocks = Array.from({ length: config.layers }, (_, layer): [string, Parameter[]] => [
    `block-${layer}`,
    parameters.filter(({ name }) => name.startsWith(`blk.${layer}.`)),
  ])
  return [['outside', parameters.filter(({ name }) => !name.startsWith('blk.'))], ...blocks]
}

/** Mean divergence on the held-out batches, nats per token: of the reference quantizer, and of the solution. */
export interface StreamedResult {
  readonly before: MeanError
  readonly after: MeanError
}

export function solveStreamed(options: StreamedOptions): Promise<StreamedResult> {
  const { source, types, network, programs, batches, validation, disk, spill, check, onProgress } = options
  const products = new Products(network.keepsMemory)
  const rows = new WorkerRows(threadCount())
  return withCleanup(async (defer) => {
    defer(() => rows.dispose())
    defer(() => products.dispose())
    const begin = async (
      label: string,
      tokens: readonly Int32Array[],
      weights: Weights,
    ): Promise<Streams> => {
      const streams = spill === undefined ? new MemoryStreams() : new DiskStreams(spill, label)
      defer(() => streams.dispose())
      return start(network, tokens, weights, streams)
    }
    const teacher = source.weights
    const plain = new StudentWeights(source, types)
    const own = new StudentWeights(source, types)
    const { path } = source.gguf
    const solver: Solver = { path, network, programs, products, rows, outputs: new Map() }
    const sides = {
      student: { weights: own, streams: await begin('student', batches, own) },
      teacher: { weights: teacher, streams: await begin('teacher', batches, teacher) },
    }
    const held = {
      plain: { weights: plain, streams: await begin('held-plain', validation, plain) },
      own: { weights: own, streams: await begin('held-own', validation, own) },
      teacher: { weights: teacher, streams: await begin('held-teacher', validation, teacher) },
    }
    const { layers } = network.config
    for (let layer = 0; layer < layers; layer++) {
      onProgress?.(layer, layers)
      const block = await makeBlock(source, types, layer)
      for (const p of block.parameters) await programs.round(p)
      plain.take(block)
      own.take(block)
      await advance(network, layer, held.plain.streams, plain)
      if (!(await disk.load(`block-${layer}`, block.parameters, programs))) {
        const report = (share: number): void => onProgress?.(layer + share, layers)
        await disk.reserve(`block-${layer}`, block.parameters)
        await solveBlock(solver, layer, sides, byName(block.parameters), report)
        await disk.save(`block-${layer}`, block.parameters, programs, check)
      }
      for (const { streams, weights } of [sides.student, sides.teacher, held.own, held.teacher])
        await advance(network, layer, streams, weights)
    }
    onProgress?.(layers, layers)
    const loss = async ({ streams, weights }: { streams: Streams; weights: Weights }): Promise<MeanError> => {
      const means: number[] = []
      for (let i = 0; i < streams.count; i++) {
        const hidden = held.teacher.streams.get(i).x
        network.output.set(streams.get(i).x)
        means.push(
          (await network.loss(weights, { kind: 'teacher', weights: teacher, hidden })) / network.tokens,
        )
      }
      return meanError(means)
    }
    return { before: await loss(held.plain), after: await loss(held.own) }
  })
}

const byName = (parameters: readonly Parameter[]): Map<string, Parameter> =>
  new Map(parameters.map((p) => [p.name, p]))

async function start(
  network: Network,
  batches: readonly Int32Array[],
  weights: Weights,
  streams: Streams,
): Promise<Streams> {
  for (const [i, tokens] of batches.entries()) streams.set(i, await network.embed(tokens, weights))
  return streams
}

/** Carries streams through a block. */
async function advance(network: Network, layer: number, streams: Streams, weights: Weights): Promise<void> {
  for (let i = 0; i < streams.count; i++) {
    const flow = streams.get(i)
    flow.x = await network.block(layer, flow, weights)
    streams.set(i, flow)
  }
}
