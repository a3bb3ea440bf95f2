/**
 * Times the work of the block-wise method on this machine: the real programs of the first block, on tensors of their real sizes, one
 * batch of random tokens and some rows of a matrix of each kind. The plan's estimates of time come from here.
 *
 * Work done for every batch runs once to compile and warm up, and is then timed on several batches; the median counts. Work done once
 * per block takes long enough to be timed once, without compiling its products, which the blocks share.
 *
 * The probe itself must not take long where the device is slow: there it times fewer runs, sums fewer batches at once, and runs one
 * window in place of a batch.
 */

import type { DeviceWeights } from '../backends/backend.js'
import { Products } from '../backends/products.js'
import { factorize, shrink } from '../blockwise/factor.js'
import { MomentSums, tokensAtOnce } from '../blockwise/hessians.js'
import { WorkerRows } from '../blockwise/row-pool.js'
import {
  type Side as BlockSide,
  beginning,
  blockMatrices,
  type Cut,
  finishBlock,
  type GroupSamples,
  groupSamples,
} from '../blockwise/samples.js'
import { shrinkageOf, stepsOf } from '../blockwise/solve.js'
import { withCleanup } from '../cleanup.js'
import { type Activations, Network } from '../engine/network.js'
import { aboutTensors } from '../errors.js'
import { Random } from '../random.js'
import { packedBytes } from '../student/export.js'
import type { Source } from '../student/source.js'
import { makeBlock } from '../student/student.js'
import { threadCount } from '../threads.js'
import { Rounding, type RoundingOptions, type Solved } from './probe-rounding.js'
import { enough, median, timed } from './timed.js'

/** Seconds of the block-wise method for one block. */
export interface BlockSeconds {
  /** Reading it, quantizing it with the reference quantizer, and checking and packing the result. */
  readonly prepare: number
  /** The forward pass of a batch. */
  readonly forward: number
  /** All moments of a batch, and the teacher's forward pass. */
  readonly moments: number
  /** The student's forward pass of a batch through the rest of the block after that. */
  readonly rest: number
  /** Factoring the moments. */
  readonly factors: number
  /** Rounding its matrices, mean over all blocks, whose types differ. */
  readonly rounding: number
  /** Compiling the programs that the blocks share, once. */
  readonly compiling: number
}

/** Seconds of a batch through a block beyond which one window of it is timed instead. */
const longBatch = 1

/** A step of the sums of a group takes about as many forward passes. */
const passesOfStep = 4

export interface ProbeOptions extends RoundingOptions {
  /** Whether there is a block-wise stage; without one only the forward pass is timed, and all else is 0. */
  readonly solves: boolean
  /** Whether activations inside a block are kept from one group of matrices to the next. */
  readonly keeps: boolean
}

/** @param network of the run */
export function probeBlock(
  source: Source,
  teacher: DeviceWeights,
  network: Network,
  types: ReadonlyMap<string, number>,
  options: ProbeOptions,
  onProgress?: (done: number, total: number) => void,
): Promise<BlockSeconds> {
  return withCleanup(async (defer) => {
    const own = await timedNetwork(network, teacher)
    if (own !== network) defer(() => own.dispose())
    const forward = await median(await forwardPass(own, teacher))
    const seconds = options.solves
      ? await solvingSeconds({ source, teacher, network: own, types }, forward, options, onProgress)
      : { prepare: 0, moments: 0, rest: 0, factors: 0, rounding: 0, compiling: 0 }
    const times = network.tokens / own.tokens
    return {
      ...seconds,
      ...{ forward: times * forward, moments: times * seconds.moments, rest: times * seconds.rest },
    }
  })
}

/** The network of the run, or one for a single window where a batch takes long. */
async function timedNetwork(network: Network, teacher: DeviceWeights): Promise<Network> {
  const { backend, architecture, config, batch } = network
  if (batch.windows === 1) return network
  const single = new Network(backend, architecture, config, { ...batch, windows: 1 })
  single.keepsMemory = network.keepsMemory
  let slow = false
  try {
    const forward = await forwardPass(single, teacher)
    await forward()
    slow = batch.windows * (await timed(forward)) > longBatch
  } finally {
    if (!slow) await single.dispose()
  }
  return slow ? single : network
}

/** A pass of a batch of random tokens through the first block. */
async function forwardPass(network: Network, teacher: DeviceWeights): Promise<() => Promise<void>> {
  const activations = await embedded(network, teacher)
  return async () => {
    await network.block(0, activations, teacher)
    await network.backend.finish?.()
  }
}

/** Inputs of the first block, of random tokens. */
function embedded(network: Network, teacher: DeviceWeights): Promise<Activations> {
  const random = new Random(1)
  const tokens = Int32Array.from({ length: network.tokens }, () => random.int(network.config.vocabulary))
  return network.embed(tokens, teacher)
}

interface Probed {
  readonly source: Source
  readonly teacher: DeviceWeights
  readonly network: Network
  readonly types: ReadonlyMap<string, number>
}

/** @param forward seconds of the forward pass of a batch */
function solvingSeconds(
  { source, teacher, network, types }: Probed,
  forward: number,
  { trial, keeps, fisher }: ProbeOptions,
  onProgress?: (done: number, total: number) => void,
): Promise<Omit<BlockSeconds, 'forward'>> {
  const products = new Products(network.backend, network.keepsMemory)
  const rows = new WorkerRows(threadCount())
  return withCleanup(async (defer) => {
    defer(() => rows.dispose())
    defer(() => products.dispose())
    const compiled = network.compiling
    const { x, sideInputs } = await embedded(network, teacher)
    const activations = (): Activations => ({ x, sideInputs: new Map(sideInputs) })
    const prepare = await timed(async () => {
      const block = await makeBlock(network.backend, source, types, 0)
      for (const p of block.parameters) await packedBytes(p, { tensors: 0, weights: 0, differing: 0 })
    })
    const ended = (work: () => Promise<unknown>) => async (): Promise<void> => {
      await work()
      await network.backend.finish?.()
    }
    const rounding = new Rounding(source, network, types, { trial, fisher }, { products, rows })
    const batches = Math.max(
      1,
      Math.min(Math.ceil(tokensAtOnce / network.tokens), Math.floor(enough / (passesOfStep * forward))),
    )
    let [moments, factors] = [0, 0]
    const groups = blockMatrices(network, 0)
    let cuts: Record<'student' | 'teacher', Cut> = { student: beginning, teacher: beginning }
    for (const [group, names] of groups.entries()) {
      onProgress?.(group + 1, groups.length + 1)
      const last = group === groups.length - 1
      let sums = new MomentSums(products)
      let next = cuts
      const side = (cut: Cut): BlockSide => ({ weights: teacher, activations: activations(), cut })
      const step = async (): Promise<GroupSamples> => {
        const [own, other] = [side(cuts.student), side(cuts.teacher)]
        const { samples, ...after } = await groupSamples(network, 0, group, own, other, {
          ...{ keeps, last, forSums: true },
        })
        next = after
        return samples
      }
      moments +=
        (await median(
          ended(async () => {
            sums = new MomentSums(products, batches * network.tokens)
            for (let i = 0; i < batches; i++) await sums.add(await step(), network.tokens)
          }),
          batches,
        )) / batches
      cuts = next
      try {
        const found = await sums.finish()
        const { inputs } = found
        const metric = shrink(inputs, shrinkageOf(Math.sqrt(inputs.length), batches * network.tokens))
        let solved: Omit<Solved, 'inputs' | 'metric'> | undefined
        factors += await timed(
          async () => {
            const factor = await factorize(metric, products)
            solved = { factor, stepOf: await stepsOf(found, factor, products) }
          },
          () => products.compiling,
        )
        if (solved) await rounding.sample(group, { inputs, metric, ...solved })
      } catch (error) {
        throw aboutTensors(
          source.gguf.path,
          names.map((name) => `blk.0.${name}`),
          error,
        )
      }
    }
    const rest = await median(
      ended(() =>
        finishBlock(network, 0, { weights: teacher, activations: activations(), cut: cuts.student }),
      ),
    )
    return {
      ...{ prepare, moments, rest, factors },
      rounding: rounding.seconds / network.config.layers,
      compiling: products.compiling + network.compiling - compiled,
    }
  })
}
