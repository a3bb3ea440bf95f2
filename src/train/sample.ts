/**
 * How fast this machine does what the block-wise method consists of, measured on a little of this model: a batch through the
 * moments of a block, and some rows of its largest matrix rounded. The plan's estimates of time come from here.
 */
import { gridOf } from '../formats/grids.js'
import { formatOf } from '../formats/table.js'
import { quantizeRows } from '../llama/index.js'
import { damp, factorize } from '../quantize/factor.js'
import { roundCompensated } from '../quantize/gptq.js'
import { refine } from '../quantize/refine.js'
import { Random } from '../random.js'
import { Products } from '../runtime/products.js'
import { blockMatrices, groupMoments } from './moments.js'
import type { Flow, Network } from './network.js'
import { sweeps } from './solve.js'
import type { Source } from './source.js'

export interface Speeds {
  /** Seconds that the moments of a block and the way through it take for a batch. */
  readonly batch: number
  /** Seconds that rounding takes for a weight. */
  readonly weight: number
  /** Seconds of factoring the moments of a block. */
  readonly factors: number
}

/** Rows of a matrix that are rounded for the sample. */
const sampleRows = 256

export async function sampleSpeeds(
  source: Source,
  network: Network,
  types: ReadonlyMap<string, number>,
): Promise<Speeds> {
  const products = new Products()
  try {
    const random = new Random(1)
    const tokens = Int32Array.from({ length: network.tokens }, () => random.int(network.config.vocabulary))
    const flow = await network.embed(tokens, source.weights)
    const groups = blockMatrices(network, 0)
    let moments = 0
    const inputs: Float32Array[] = []
    for (const group of groups.keys()) {
      const side = { weights: source.weights, flow }
      inputs.push((await groupMoments(network, 0, group, side, side)).inputs)
      moments += await timed(() => groupMoments(network, 0, group, side, side))
    }
    const through = (): Promise<unknown> => network.block(0, copyOf(flow), source.weights)
    await through()
    const advance = await timed(through)
    let factors = 0
    let weight = 0
    for (const [group, names] of groups.entries()) {
      const metric = damp(inputs[group], 0.1)
      const began = performance.now()
      const factor = await factorize(metric, products)
      factors += (performance.now() - began) / 1000
      if (weight > 0) continue
      const name = names.find((each) => formatOf(types.get(`blk.0.${each}`) ?? -1)?.uniform)
      const format = formatOf(types.get(`blk.0.${name}`) ?? -1)
      const values = name && source.weights.get(`blk.0.${name}`)
      if (!format?.uniform || !values) continue
      const n = factor.order.length
      const rows = values.slice(0, Math.min(values.length, sampleRows * n))
      const { uniform } = format
      weight =
        (await timed(async () => {
          const found = format.decode(quantizeRows(format.type, rows, n))
          const { q } = await roundCompensated(rows, gridOf(uniform, found), factor, products)
          const codes = { ...found, q }
          await refine(codes, uniform, rows, format.dequantize(codes), { inputs: metric }, sweeps, products)
        })) / rows.length
    }
    return { batch: moments + 2 * advance, weight, factors }
  } finally {
    await products.dispose()
  }
}

const copyOf = ({ x, beside }: Flow): Flow => ({ x, beside: new Map(beside) })

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}
