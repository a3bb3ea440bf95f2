/** Times the rounding of matrices for the probe, from some of their rows. */
import type { Products } from '../backends/products.js'
import { chooseCodes, type Trial } from '../blockwise/candidates.js'
import type { InputFactor } from '../blockwise/factor.js'
import type { RowPool } from '../blockwise/row-pool.js'
import { blockMatrices } from '../blockwise/samples.js'
import type { stepsOf } from '../blockwise/solve.js'
import { blockKey } from '../engine/block-graphs.js'
import type { Network } from '../engine/network.js'
import { layoutOf } from '../formats/grids.js'
import { formatOf } from '../formats/table.js'
import { referenceRows } from '../quantize/reference-rows.js'
import type { Source } from '../student/source.js'
import { threadCount } from '../threads.js'
import { timed } from './timed.js'

/** Rows of the smaller sample of a matrix: a minimum, and a minimum for each thread, which is that of a share (row-pool.ts). */
const sampleRows = { least: 128, ofThread: 64 }

export interface RoundingOptions {
  /** Tokens that decide among candidates. */
  readonly trial: number
  /** Whether output errors are weighted by Fisher information. */
  readonly fisher: boolean
}

/** What the matrices of a group are solved from. */
export interface Solved {
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
export class Rounding {
  /** Total of all blocks. */
  seconds = 0
  private readonly known = new Map<string, RowSeconds>()
  private readonly kinds = new Map<string, readonly (readonly string[])[]>()

  constructor(
    private readonly source: Source,
    private readonly network: Network,
    private readonly types: ReadonlyMap<string, number>,
    private readonly options: RoundingOptions,
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
            return timed(
              () => chooseCodes(format, from, present, evidence, deciding, this.compute),
              () => products.compiling,
            )
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
