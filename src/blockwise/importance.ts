/**
 * An importance matrix: for every matrix of a model the mean square of each of its inputs over many tokens, as `llama-imatrix`
 * collects it. ggml's quantizers weight the squared errors of a row by it.
 *
 * It costs a forward pass. One program for each kind of block computes the block's results and the sums of squares of all of its
 * groups of matrices. As many batches as fit in 256 MB pass through a block before the next block is loaded, so weights that are
 * read from a file on demand are read once for all of them.
 */

import { type Buffers, copyOf, type DeviceBuffer, type DeviceWeights } from '../backends/backend.js'
import { blockGraph, blockKey, result } from '../engine/block-graphs.js'
import { matrixGroups } from '../engine/linear-layers.js'
import type { Activations, Network } from '../engine/network.js'
import { mul, sum, type Tensor } from '../graph/index.js'
import { blockMatrices, headMatrix } from './samples.js'

/**
 * @param batches whole batches of the network
 * @param onProgress called with the number of passes of a batch through a block that are done. May throw to stop.
 * @param mostBytes limit of the hidden states between two blocks; a single batch may exceed it
 * @returns the mean squares of the inputs of a matrix, (in), by tensor: the matrices of all blocks and the output matrix (which is
 * `token_embd.weight` where it is tied)
 */
export async function importanceOf(
  network: Network,
  batches: readonly Int32Array[],
  weights: DeviceWeights,
  onProgress?: (done: number, total: number) => void,
  mostBytes = 2 ** 28,
): Promise<Map<string, Float32Array>> {
  const sums = new Map<string, Float64Array>()
  await addSquares(sums, network, batches, weights, onProgress, mostBytes)
  const tokens = batches.length * network.tokens
  return new Map(Array.from(sums, ([name, total]) => [name, Float32Array.from(total, (s) => s / tokens)]))
}

/**
 * Adds the sums of squares that `importanceOf` gives the means of, one batch after another, so that it makes no difference how many
 * batches there are in a call.
 */
export async function addSquares(
  sums: Map<string, Float64Array>,
  network: Network,
  batches: readonly Int32Array[],
  weights: DeviceWeights,
  onProgress?: (done: number, total: number) => void,
  mostBytes = 2 ** 28,
): Promise<void> {
  const { layers } = network.config
  let done = 0
  for (let next = 0; next < batches.length; ) {
    const waiting: Activations[] = []
    for (let bytes = 0; next < batches.length && (waiting.length === 0 || bytes < mostBytes); next++) {
      const activations = await network.embed(batches[next], weights)
      for (const { length } of [activations.x, ...activations.sideInputs.values()]) bytes += 4 * length
      waiting.push(activations)
    }
    for (let layer = 0; layer < layers; layer++) {
      const groups = blockMatrices(network, layer)
      for (const activations of waiting) {
        const squares = await throughBlock(network, layer, activations, weights)
        for (const [group, names] of groups.entries()) {
          const own = await network.backend.download(squares[`group ${group}`])
          for (const name of names) add(sums, `blk.${layer}.${name}`, own)
        }
        onProgress?.(++done, batches.length * layers)
      }
    }
    const { use } = headMatrix(network)
    if (use) {
      for (const { x } of waiting)
        add(sums, use.name, await network.backend.download(await intoHead(network, x, weights)))
    }
  }
}

/** Advances `activations` through the block. @returns the sums of squares of the inputs of each `group <number>` of its matrices */
async function throughBlock(
  network: Network,
  layer: number,
  activations: Activations,
  weights: DeviceWeights,
): Promise<Buffers> {
  const program = await network.program(`importance ${blockKey(network, layer)}`, () => {
    const { inputs, results, w } = blockGraph(network, layer)
    const squares = matrixGroups(results, w).map(([{ input }], group) => [`group ${group}`, squared(input)])
    return { inputs, outputs: { ...results, ...Object.fromEntries(squares) } }
  })
  const out = await network.runIntoScratch(program, network.blockValues(layer, activations, weights))
  network.backend.copy(activations.x, out[result('x')])
  for (const [name, to] of Object.entries(network.architecture.produces(network.config, layer)))
    activations.sideInputs.set(to, copyOf(network.backend, out[result(name)]))
  return out
}

/** The sums of squares of the output matrix's inputs, from the residual stream after the last block. */
async function intoHead(network: Network, x: DeviceBuffer, weights: DeviceWeights): Promise<DeviceBuffer> {
  const { outer, use } = headMatrix(network)
  const program = await network.program('head importance', () => {
    const { x, outer, use } = headMatrix(network)
    return { inputs: { x, ...outer }, outputs: { squares: use ? squared(use.input) : x } }
  })
  // The matrix itself is large and not needed.
  const others = Object.keys(outer).filter((name) => name !== use?.name)
  const values = others.map((name): [string, DeviceBuffer] => [name, weights.get(name) as DeviceBuffer])
  const { squares } = await program.run({ x, ...Object.fromEntries(values) })
  return squares
}

/** The sums of squares of the columns, (1, in), of (tokens, in). */
const squared = (x: Tensor): Tensor => sum(mul(x, x), [0])

function add(sums: Map<string, Float64Array>, name: string, values: Float32Array): void {
  const total = sums.get(name) ?? new Float64Array(values.length)
  for (let i = 0; i < total.length; i++) total[i] += values[i]
  sums.set(name, total)
}
