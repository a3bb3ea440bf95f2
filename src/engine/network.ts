/**
 * A model as compiled programs. One block is one program, compiled once and run for every layer with that layer's
 * weights as inputs. The forward pass keeps the input of every block; the backward pass computes a block again from
 * its input, so memory is one block's activations. The head runs on slices of tokens (head.ts).
 *
 * Measured on two cores (width 256, 2,048 tokens): keeping the activations of a block instead of computing them again
 * costs 23 ms in the forward pass, which writes them, and saves 14 ms in the backward pass.
 */

import { Program, Programs, type Values } from '../backends/program.js'
import type { ProgramGraph } from '../graph/index.js'
import type { Architecture, Batch, ModelConfig, Source } from '../models/architecture.js'
import type { Weights } from '../models/weights.js'
import { backwardGraph, blockGraph, blockKey, embedGraph, result } from './block-graphs.js'
import { addRows, rowsOf } from './embedding-rows.js'
import { accumulate, addTo, type Gradients, opened, takeCleared } from './gradients.js'
import { Head, type Target } from './head.js'

/** What passes from block to block. */
export interface Activations {
  /** The residual stream, (windows * length, width). */
  x: Float32Array
  /** What later blocks read besides it, by name. */
  readonly sideInputs: Map<string, Float32Array>
}

/** How the gradient goes back through a block. */
interface BlockBackward {
  /** Names the program. */
  readonly key: string
  /** From what the block reads and the gradients of its results to those of its stream and of what it reads, and others. */
  graph(layer: number): ProgramGraph
  /** Arrays that the program is to write to, by the names of its outputs. */
  into?(layer: number): Values
  /** Takes what a program gave; other arrays than those are written to again. */
  take(layer: number, out: Record<string, Float32Array>): void
}

export class Network {
  /** Input of every block, and the output of the last: (windows * length, width) each. */
  private readonly stream: Float32Array[]
  /** What blocks of the last forward pass read besides their stream, and its gradients. */
  private readonly sideInputs = new Map<string, Float32Array>()
  private readonly sideGradients = new Map<string, Float32Array>()
  private readonly programs = new Programs()
  private readonly scratch = new Map<Program, Record<string, Float32Array>>()
  readonly head: Head
  readonly tokens: number
  /** Whether programs that are compiled from now on keep their memory, unless they are told otherwise; see `Program.compile`. */
  keepsMemory = true

  constructor(
    readonly architecture: Architecture,
    readonly config: ModelConfig,
    readonly batch: Batch,
  ) {
    this.tokens = batch.windows * batch.length
    this.head = new Head(this)
    const size = this.tokens * config.width
    this.stream = Array.from({ length: config.layers + 1 }, () => new Float32Array(size))
  }

  /** The residual stream after the last block, (windows * length, width), valid until the next pass. */
  async forward(tokens: Int32Array, weights: Weights): Promise<Float32Array> {
    await this.embed(tokens, weights, { x: this.stream[0], sideInputs: this.sideInputs })
    for (let layer = 0; layer < this.config.layers; layer++) {
      const activations = { x: this.stream[layer], sideInputs: this.sideInputs }
      await this.block(layer, activations, weights, this.stream[layer + 1])
    }
    return this.stream[this.config.layers]
  }

  /** What goes into the first block, written to the arrays of `into` where it has them. */
  async embed(tokens: Int32Array, weights: Weights, into?: Activations): Promise<Activations> {
    const embed = await this.program('embed', () => {
      const { inputs, results } = embedGraph(this)
      return { inputs, outputs: results }
    })
    const arrays = into ? { x: into.x, ...Object.fromEntries(into.sideInputs) } : {}
    const { x, ...rest } = await embed.run(this.embedValues(tokens, weights), arrays)
    const sideInputs = into?.sideInputs ?? new Map<string, Float32Array>()
    for (const [name, values] of Object.entries(rest)) sideInputs.set(name, values)
    return { x, sideInputs }
  }

  /** One block: the residual stream after it. What it gives besides is written to `activations.sideInputs`. */
  async block(
    layer: number,
    activations: Activations,
    weights: Weights,
    into?: Float32Array,
  ): Promise<Float32Array> {
    const block = await this.program(`block ${blockKey(this, layer)}`, () => {
      const { inputs, results } = blockGraph(this, layer)
      return { inputs, outputs: results }
    })
    const gives = Object.entries(this.architecture.produces(this.config, layer))
    const arrays: Values = into ? { [result('x')]: into } : {}
    for (const [name, to] of gives) {
      const known = activations.sideInputs.get(to)
      if (known) arrays[result(name)] = known
    }
    const out = await block.run(this.blockValues(layer, activations, weights), arrays)
    for (const [name, to] of gives) activations.sideInputs.set(to, out[result(name)])
    return out[result('x')]
  }

  /** The loss at every position of the last forward pass, (windows * length), in nats. */
  losses(weights: Weights, target: Target): Promise<Float32Array> {
    return this.head.losses(weights, target)
  }

  /** Sum of the loss over all positions of the last forward pass, in nats. */
  async loss(weights: Weights, target: Target): Promise<number> {
    return (await this.losses(weights, target)).reduce((a, b) => a + b, 0)
  }

  /**
   * Backward pass after a forward pass on the same tokens and weights. Adds the gradients of the summed loss to
   * `gradients` and returns the loss in nats.
   */
  async backward(
    tokens: Int32Array,
    weights: Weights,
    target: Target,
    gradients: Gradients,
  ): Promise<number> {
    const names = (layer: number): string[] => Object.keys(this.architecture.blockTensors(this.config, layer))
    const { loss, dx } = await this.backwardThrough(weights, target, gradients, {
      key: 'block backward',
      graph: (layer) => {
        const { inputs, results, w } = blockGraph(this, layer)
        const reads = Object.keys(this.architecture.consumes(this.config, layer, this.batch))
        return backwardGraph(inputs, results, pick(inputs, ['x', ...reads, ...Object.keys(w)]))
      },
      into: (layer) => takeCleared(gradients, names(layer), `blk.${layer}.`),
      take: (layer, out) => {
        for (const name of names(layer)) accumulate(gradients, `blk.${layer}.${name}`, out[`d ${name}`])
      },
    })
    await this.embedBackward(tokens, weights, dx, gradients)
    return loss
  }

  /**
   * Takes the gradient of the loss back through head and blocks. Returns the loss and the gradient at the embedding;
   * gradients of the head's tensors are added to `gradients`.
   */
  async backwardThrough(
    weights: Weights,
    target: Target,
    gradients: Gradients,
    { key, graph, into, take }: BlockBackward,
  ): Promise<{ loss: number; dx: Float32Array }> {
    const { architecture, config, batch } = this
    const dx = new Float32Array(this.tokens * config.width)
    const loss = await this.head.backward(weights, target, dx, gradients)
    for (const values of this.sideGradients.values()) values.fill(0)
    for (let layer = config.layers - 1; layer >= 0; layer--) {
      const block = await this.program(`${key} ${blockKey(this, layer)}`, () => graph(layer))
      const values = this.blockValues(layer, { x: this.stream[layer], sideInputs: this.sideInputs }, weights)
      values[`d ${result('x')}`] = dx
      for (const [name, to] of Object.entries(architecture.produces(config, layer)))
        values[`d ${result(name)}`] = this.sideGradient(to)
      const out = await this.runIntoScratch(block, values, into?.(layer))
      dx.set(out['d x'])
      for (const [name, source] of Object.entries(architecture.consumes(config, layer, batch)))
        addTo(pieceOf(this.sideGradient(source.from), source), out[`d ${name}`])
      take(layer, out)
    }
    return { loss, dx }
  }

  /** Logits (windows * length, vocabulary) of the last forward pass. */
  logits(weights: Weights): Promise<Float32Array> {
    return this.head.logits(weights)
  }

  /**
   * Runs a program whose results are used at once: but for those with an array in `into` they are written to arrays that the next
   * run overwrites.
   */
  async runIntoScratch(
    program: Program,
    values: Values,
    into: Values = {},
  ): Promise<Record<string, Float32Array>> {
    const scratch = this.scratch.get(program) ?? {}
    const results = await program.run(values, { ...scratch, ...into })
    const own = Object.entries(results).filter(([name]) => !(name in into))
    this.scratch.set(program, { ...scratch, ...Object.fromEntries(own) })
    return results
  }

  /** Frees the compiled programs and what they keep; those that are used again are compiled anew. */
  async dispose(): Promise<void> {
    this.scratch.clear()
    await this.programs.dispose()
  }

  private async embedBackward(
    tokens: Int32Array,
    weights: Weights,
    dx: Float32Array,
    gradients: Gradients,
  ): Promise<void> {
    const names = Object.keys({
      ...this.architecture.tables(this.config),
      ...this.architecture.embedTensors(this.config),
    }).filter((name) => gradients.has(name))
    if (names.length === 0) return
    const embed = await this.program(`embed backward ${names}`, () => {
      const { inputs, results } = embedGraph(this)
      return backwardGraph(inputs, results, pick(inputs, names))
    })
    const values: Values = { ...this.embedValues(tokens, weights), 'd x': dx }
    for (const name of this.sideInputs.keys()) values[`d ${name}`] = this.sideGradient(name)
    const out = await this.runIntoScratch(embed, values)
    const tables = this.architecture.tables(this.config)
    for (const name of names)
      if (name in tables) addRows(opened(weight(gradients, name)), tokens, out[`d ${name}`])
      else accumulate(gradients, name, out[`d ${name}`])
  }

  /** The gradient of what blocks read besides their stream, to be added to. */
  private sideGradient(name: string): Float32Array {
    const known = this.sideGradients.get(name)
    if (known) return known
    const zeros = new Float32Array(weight(this.sideInputs, name).length)
    this.sideGradients.set(name, zeros)
    return zeros
  }

  private embedValues(tokens: Int32Array, weights: Weights): Values {
    const { tables, embedTensors } = this.architecture
    const values: Values = {}
    for (const [name, [, columns]] of Object.entries(tables(this.config)))
      values[name] = weights.rows?.(name, tokens, columns) ?? rowsOf(weight(weights, name), tokens, columns)
    for (const name of Object.keys(embedTensors(this.config))) values[name] = weight(weights, name)
    return values
  }

  /** The residual stream after the last block of the last forward pass, (windows * length, width). */
  get output(): Float32Array {
    return this.stream[this.config.layers]
  }

  /** The head's tensors as its programs take them. */
  headWeights(weights: Weights): Values {
    const names = Object.keys(this.architecture.headTensors(this.config))
    return Object.fromEntries(names.map((name) => [name, weight(weights, name)]))
  }

  /** What goes into a block, as its programs take it. */
  blockValues(layer: number, { x, sideInputs }: Activations, weights: Weights): Values {
    const { architecture, config, batch } = this
    const values: Values = { x }
    for (const [name, source] of Object.entries(architecture.consumes(config, layer, batch)))
      values[name] = pieceOf(weight(sideInputs, source.from), source)
    for (const name of Object.keys(architecture.blockTensors(config, layer)))
      values[name] = weight(weights, `blk.${layer}.${name}`)
    return values
  }

  /** The program of a graph, compiled once for each key. */
  program(key: string, graph: () => ProgramGraph, keepsMemory = this.keepsMemory): Promise<Program> {
    return this.programs.get(key, () => Program.compile(graph(), keepsMemory))
  }
}

const pick = <T>(record: Readonly<Record<string, T>>, names: readonly string[]): Record<string, T> =>
  Object.fromEntries(names.map((name) => [name, record[name]]))

function weight(weights: Pick<Weights, 'get'>, name: string): Float32Array {
  const values = weights.get(name)
  if (!values) throw new RangeError(`no values for ${name}`)
  return values
}

/** What a block reads of something that is given to several blocks. */
function pieceOf(values: Float32Array, { shape, piece }: Source): Float32Array {
  if (piece === undefined) return values
  const size = shape.reduce((n, d) => n * d, 1)
  return values.subarray(piece * size, (piece + 1) * size)
}
