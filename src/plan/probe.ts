/**
 * Times the work of the block-wise method on this machine: the real programs of the first block, on tensors of their real sizes, one
 * batch of random tokens and some rows of a matrix of each kind. The plan's estimates of time come from here.
 *
 * Work done for every batch runs once to compile and warm up, and is then timed on several batches; the median counts. Work done once
 * per block takes long enough to be timed once, without compiling its products, which the blocks share.
 */

import type { DeviceWeights } from '../backends/backend.js'
import { Products } from '../backends/products.js'
import { chooseCodes, type Trial } from '../blockwise/candidates.js'
import { factorize, type InputFactor, shrink } from '../blockwise/factor.js'
import { MomentSums, tokensAtOnce } from '../blockwise/hessians.js'
import { type RowPool, WorkerRows } from '../blockwise/row-pool.js'
import {
  type Side as BlockSide,
  beginning,
  blockMatrices,
  type Cut,
  finishBlock,
  groupSamples,
} from '../blockwise/samples.js'
import { shrinkageOf, stepsOf } from '../blockwise/solve.js'
import { withCleanup } from '../cleanup.js'
import { blockKey } from '../engine/block-graphs.js'
import type { Activations, Network } from '../engine/network.js'
import { aboutTensors } from '../errors.js'
import { layoutOf } from '../formats/grids.js'
import { formatOf } from '../formats/table.js'
import { referenceRows } from '../quantize/reference-rows.js'
import { Random } from '../random.js'
import { packedBytes } from '../student/export.js'
import type { Source } from '../student/source.js'
import { makeBlock } from '../student/student.js'
import { threadCount } from '../threads.js'

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

/** Rows of the smaller sample of a matrix: a minimum, and a minimum for each thread, which is that of a share (row-pool.ts). */
const sampleRows = { least: 128, ofThread: 64 }

export interface ProbeOptions {
  /** Tokens that decide among candidates. */
  readonly trial: number
  /** Whether activations inside a block are kept from one group of matrices to the next. */
  readonly keeps: boolean
  /** Whether output errors are weighted by Fisher information. */
  readonly fisher: boolean
}

export function probeBlock(
  source: Source,
  teacher: DeviceWeights,
  network: Network,
  types: ReadonlyMap<string, number>,
  { trial, keeps, fisher }: ProbeOptions,
  onProgress?: (done: number, total: number) => void,
): Promise<BlockSeconds> {
  const products = new Products(network.backend, network.keepsMemory)
  const rows = new WorkerRows(threadCount())
  return withCleanup(async (defer) => {
    defer(() => rows.dispose())
    defer(() => products.dispose())
    const random = new Random(1)
    const tokens = Int32Array.from({ length: network.tokens }, () => random.int(network.config.vocabulary))
    const compiled = network.compiling
    const activations = await network.embed(tokens, teacher)
    const prepare = await timed(async () => {
      const block = await makeBlock(network.backend, source, types, 0)
      for (const p of block.parameters) await packedBytes(p, { tensors: 0, weights: 0, differing: 0 })
    })
    const copy: Activations = { x: activations.x, sideInputs: new Map(activations.sideInputs) }
    const ended = (work: () => Promise<unknown>) => async (): Promise<void> => {
      await work()
      await network.backend.finish?.()
    }
    const forward = await median(ended(() => network.block(0, copy, teacher)))
    const rounding = new Rounding(source, network, types, { trial, keeps, fisher }, { products, rows })
    let [moments, factors] = [0, 0]
    const groups = blockMatrices(network, 0)
    const cuts = { student: beginning, teacher: beginning }
    for (const [group, names] of groups.entries()) {
      onProgress?.(group + 1, groups.length + 1)
      const last = group === groups.length - 1
      let sums = new MomentSums(products)
      const batches = Math.ceil(tokensAtOnce / network.tokens)
      const side = (cut: Cut): BlockSide => ({
        weights: teacher,
        activations: { x: activations.x, sideInputs: new Map(activations.sideInputs) },
        cut,
      })
      const step = () =>
        groupSamples(network, 0, group, side(cuts.student), side(cuts.teacher), {
          keeps,
          last,
          forSums: true,
        })
      moments +=
        (await median(
          ended(async () => {
            sums = new MomentSums(products)
            for (let i = 0; i < batches; i++) await sums.add((await step()).samples, network.tokens)
          }),
          batches,
        )) / batches
      const { student: own, teacher: other } = await step()
      Object.assign(cuts, { student: own, teacher: other })
      try {
        const found = await sums.finish()
        const { inputs } = found
        const metric = shrink(inputs, shrinkageOf(Math.sqrt(inputs.length), batches * network.tokens))
        let solved: Omit<Solved, 'inputs' | 'metric'> | undefined
        factors += await timed(async () => {
          const factor = await factorize(metric, products)
          solved = { factor, stepOf: await stepsOf(found, factor, products) }
        }, products)
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
        finishBlock(network, 0, { weights: teacher, activations: { ...activations }, cut: cuts.student }),
      ),
    )
    return {
      ...{ prepare, forward, moments, rest, factors },
      rounding: rounding.seconds / network.config.layers,
      compiling: products.compiling + network.compiling - compiled,
    }
  })
}

/** What the matrices of a group are solved from. */
interface Solved {
  readonly inputs: Float32Array
  readonly metric: Float32Array
  readonly factor: InputFactor
  readonly stepOf: Awaited<ReturnType<typeof stepsOf>>
}

/** Seconds of rounding a matrix by its number of rows. */
type RowSeconds = (rows: number) => number

/**
 * Rounds some rows, and twice as many, of a matrix of each width and format in the blocks: part of the time does not depend on the
 * rows, such as laying out the moments for products.
 */
class Rounding {
  /** Total of all blocks. */
  seconds = 0
  private readonly known = new Map<string, RowSeconds>()
  private readonly kinds = new Map<string, readonly (readonly string[])[]>()

  constructor(
    private readonly source: Source,
    private readonly network: Network,
    private readonly types: ReadonlyMap<string, number>,
    private readonly options: ProbeOptions,
    private readonly compute: { readonly products: Products; readonly rows: RowPool },
  ) {}

  /** The groups of matrices of a block, cached by kind of block. */
  private groups(layer: number): readonly (readonly string[])[] {
    const key = blockKey(this.network, layer)
    const known = this.kinds.get(key) ?? blockMatrices(this.network, layer)
    this.kinds.set(key, known)
    return known
  }

  /** Adds the seconds of a group's matrices in all blocks. */
  async sample(group: number, { inputs, metric, factor, stepOf }: Solved): Promise<void> {
    const { source, network, types } = this
    for (let layer = 0; layer < network.config.layers; layer++)
      for (const name of this.groups(layer)[group] ?? []) {
        const tensor = source.gguf.tensor(`blk.${layer}.${name}`)
        const format = formatOf(types.get(tensor.name) ?? tensor.type)
        if (!format || !layoutOf(format)) continue
        const n = factor.order.length
        const key = `${n} ${format.name}`
        if (!this.known.has(key)) {
          const whole = source.weights.get(`blk.0.${name}`)
          if (!whole) continue
          const trial = (rows: number) => trialOf(this.options.trial, n, rows)
          const round = async (rows: number): Promise<number> => {
            const from = whole.subarray(0, rows * n)
            const present = format.decode(await referenceRows(format.type, from, n))
            const outputs = this.options.fisher ? identity(rows) : undefined
            const evidence = { metric, factor, inputs, step: () => stepOf(name, from), outputs }
            const deciding = trial(rows)
            const { products } = this.compute
            return timed(() => chooseCodes(format, from, present, evidence, deciding, this.compute), products)
          }
          this.known.set(key, await rowSeconds(round, whole.length / n))
        }
        this.seconds += this.known.get(key)?.(tensor.elements / n) ?? 0
      }
  }
}

/** @param round rounds a number of rows and returns the seconds */
export async function rowSeconds(
  round: (rows: number) => Promise<number>,
  rows: number,
  threads = threadCount(),
): Promise<RowSeconds> {
  const few = Math.min(rows, Math.max(sampleRows.least, sampleRows.ofThread * threads))
  const more = Math.min(rows, 2 * few)
  await round(few)
  const [short, long] = [more > few ? await round(few) : 0, await round(more)]
  // Other load may lengthen either time, so their difference is clamped.
  const [least, most] = [long / more / 4, long / more]
  const each = more > few ? Math.min(most, Math.max(least, (long - short) / (more - few))) : most
  return (count) => Math.max(0, long + each * (count - more))
}

function identity(n: number): Float32Array {
  const matrix = new Float32Array(n * n)
  for (let i = 0; i < n; i++) matrix[i * n + i] = 1
  return matrix
}

/** Dummy tokens that decide among candidates. */
function trialOf(tokens: number, n: number, out: number): Trial {
  return {
    tokens,
    inputs: new Float32Array(tokens * n).fill(0.1),
    target: new Float32Array(tokens * out).fill(0.1),
    bounds: [0, tokens],
  }
}

/** @param products whose compilation time is not counted */
async function timed(work: () => Promise<unknown>, products?: Products): Promise<number> {
  const compiled = products?.compiling ?? 0
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000 - ((products?.compiling ?? 0) - compiled)
}

/** Batches after which a run need not be timed again. */
const manyBatches = 16

/**
 * Median seconds of at least three runs that take a twentieth of a second, or of 25, after a warm-up run. Runs of many batches are timed
 * less often.
 * @param batches of a run
 */
async function median(work: () => Promise<unknown>, batches = 1): Promise<number> {
  await work()
  const times: number[] = []
  let total = 0
  while ((times.length < 3 && times.length * batches < manyBatches) || (total < 0.05 && times.length < 25)) {
    times.push(await timed(work))
    total += times.at(-1) as number
  }
  times.sort((a, b) => a - b)
  return times[times.length >> 1]
}
