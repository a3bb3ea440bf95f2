/**
 * A model as compiled programs. A kind of block is one program, compiled once and run for its layers with each layer's
 * weights as inputs. The forward pass keeps the input of every block; the backward pass recomputes a block from its
 * input, so memory is one block's activations. The head runs on slices of tokens (head.ts).
 *
 * Measured on two cores (width 256, 2,048 tokens): keeping the activations of a block instead of recomputing them
 * costs 23 ms in the forward pass, which writes them, and saves 14 ms in the backward pass.
 */

import type { Backend, Buffers, DeviceBuffer, DeviceWeights, Program } from '../backends/backend.js'
import { Programs } from '../backends/programs.js'
import type { ProgramGraph } from '../graph/index.js'
import type { Architecture, Batch, ModelConfig, Source } from '../models/architecture.js'
import { backwardGraph, blockGraph, blockKey, embedGraph, result } from './block-graphs.js'
import { type Gradients, targetsOf } from './gradients.js'
import { Head, type Target } from './head.js'

/** The values that pass from block to block. */
export interface Activations {
  /** The residual stream, (windows * length, width). */
  x: DeviceBuffer
  /** Further inputs of later blocks, by name. */
  readonly sideInputs: Map<string, DeviceBuffer>
}

/** How the gradient is propagated back through a block. */
interface BlockBackward {
  /** Prefix of the program's key. */
  readonly key: string
  /** From the block's inputs and the gradients of its results to those of its stream and side inputs, and others. */
  graph(layer: number): ProgramGraph
  /** Buffers that the program is to write to, by the names of its outputs. */
  into?(layer: number): Buffers
  /** Takes the program's outputs; the next run overwrites the buffers that are not in `into`. */
  take(layer: number, out: Buffers): void | Promise<void>
}

export class Network {
  /** Input of every block, and the output of the last: (windows * length, width) each. */
  private readonly stream: DeviceBuffer[]
  /** Side inputs of the blocks in the last forward pass, and their gradients. */
  private readonly sideInputs = new Map<string, DeviceBuffer>()
  private readonly sideGradients = new Map<string, DeviceBuffer>()
  private readonly programs = new Programs()
  private readonly scratch = new Map<Program, Buffers>()
  readonly head: Head
  readonly tokens: number
  /** Default for programs compiled from now on: whether they keep their memory; see `Backend.compile`. */
  keepsMemory = true

  constructor(
    readonly backend: Backend,
    readonly architecture: Architecture,
    readonly config: ModelConfig,
    readonly batch: Batch,
  ) {
    this.tokens = batch.windows * batch.length
    this.head = new Head(this)
    const size = this.tokens * config.width
    this.stream = Array.from({ length: config.layers + 1 }, () => backend.zeros(size))
  }

  /** Returns the residual stream after the last block, (windows * length, width), valid until the next pass. */
  async forward(tokens: Int32Array, weights: DeviceWeights): Promise<DeviceBuffer> {
    await this.embed(tokens, weights, { x: this.stream[0], sideInputs: this.sideInputs })
    for (let layer = 0; layer < this.config.layers; layer++) {
      const activations = { x: this.stream[layer], sideInputs: this.sideInputs }
      await this.block(layer, activations, weights, this.stream[layer + 1])
    }
    return this.stream[this.config.layers]
  }

  /** Returns the inputs of the first block, written to the buffers of `into` if it has them. */
  async embed(tokens: Int32Array, weights: DeviceWeights, into?: Activations): Promise<Activations> {
    const embed = await this.program('embed', () => {
      const { inputs, results } = embedGraph(this)
      return { inputs, outputs: results }
    })
    const arrays = into ? { x: into.x, ...Object.fromEntries(into.sideInputs) } : {}
    const { x, ...rest } = await embed.run(this.embedValues(tokens, weights), arrays)
    const sideInputs = into?.sideInputs ?? new Map<string, DeviceBuffer>()
    for (const [name, values] of Object.entries(rest)) sideInputs.set(name, values)
    return { x, sideInputs }
  }

  /** Runs one block. Returns the residual stream after it; its side outputs are set in `activations.sideInputs`. */
  async block(
    layer: number,
    activations: Activations,
    weights: DeviceWeights,
    into?: DeviceBuffer,
  ): Promise<DeviceBuffer> {
    const block = await this.program(`block ${blockKey(this, layer)}`, () => {
      const { inputs, results } = blockGraph(this, layer)
      return { inputs, outputs: results }
    })
    const gives = Object.entries(this.architecture.produces(this.config, layer))
    const arrays: Buffers = into ? { [result('x')]: into } : {}
    for (const [name, to] of gives) {
      const known = activations.sideInputs.get(to)
      if (known) arrays[result(name)] = known
    }
    const out = await block.run(this.blockValues(layer, activations, weights), arrays)
    for (const [name, to] of gives) activations.sideInputs.set(to, out[result(name)])
    return out[result('x')]
  }

  /** Advances activations through a block, given its results. */
  take(layer: number, activations: Activations, results: Buffers): void {
    activations.x = results[result('x')]
    for (const [name, to] of Object.entries(this.architecture.produces(this.config, layer)))
      activations.sideInputs.set(to, results[result(name)])
  }

  /** The loss at every position of the last forward pass, (windows * length), in nats. */
  losses(weights: DeviceWeights, target: Target): Promise<Float32Array> {
    return this.head.losses(weights, target)
  }

  /** Sum of the loss over all positions of the last forward pass, in nats. */
  async loss(weights: DeviceWeights, target: Target): Promise<number> {
    return (await this.losses(weights, target)).reduce((a, b) => a + b, 0)
  }

  /**
   * Backward pass after a forward pass on the same tokens and weights. Adds the gradients of the summed loss to
   * `gradients` and returns the loss in nats.
   */
  async backward(
    tokens: Int32Array,
    weights: DeviceWeights,
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
      into: (layer) => targetsOf(gradients, names(layer), `blk.${layer}.`),
      take: (layer, out) => {
        for (const name of names(layer)) gradients.get(`blk.${layer}.${name}`)?.add(out[`d ${name}`])
      },
    })
    await this.embedBackward(tokens, weights, dx, gradients)
    return loss
  }

  /**
   * Backpropagates the loss through head and blocks. Returns the loss and the gradient at the embedding; gradients of the
   * head's tensors are added to `gradients`.
   */
  async backwardThrough(
    weights: DeviceWeights,
    target: Target,
    gradients: Gradients,
    { key, graph, into, take }: BlockBackward,
  ): Promise<{ loss: number; dx: DeviceBuffer }> {
    const { backend, architecture, config, batch } = this
    const dx = backend.zeros(this.tokens * config.width)
    const loss = await this.head.backward(weights, target, dx, gradients)
    for (const values of this.sideGradients.values()) backend.fill(values, 0)
    for (let layer = config.layers - 1; layer >= 0; layer--) {
      const block = await this.program(`${key} ${blockKey(this, layer)}`, () => graph(layer))
      const values = this.blockValues(layer, { x: this.stream[layer], sideInputs: this.sideInputs }, weights)
      values[`d ${result('x')}`] = dx
      for (const [name, to] of Object.entries(architecture.produces(config, layer)))
        values[`d ${result(name)}`] = this.sideGradient(to)
      const out = await this.runIntoScratch(block, values, into?.(layer))
      backend.copy(dx, out['d x'])
      for (const [name, source] of Object.entries(architecture.consumes(config, layer, batch)))
        backend.add(this.pieceOf(this.sideGradient(source.from), source), out[`d ${name}`])
      await take(layer, out)
    }
    return { loss, dx }
  }

  /** Logits (windows * length, vocabulary) of the last forward pass. */
  logits(weights: DeviceWeights): Promise<Float32Array> {
    return this.head.logits(weights)
  }

  /**
   * Runs a program whose results are used at once: those without a buffer in `into` are written to buffers that the next run
   * overwrites.
   */
  async runIntoScratch(program: Program, values: Buffers, into: Buffers = {}): Promise<Buffers> {
    const scratch = this.scratch.get(program) ?? {}
    const results = await program.run(values, { ...scratch, ...into })
    const own = Object.entries(results).filter(([name]) => !(name in into))
    this.scratch.set(program, { ...scratch, ...Object.fromEntries(own) })
    return results
  }

  /** Frees the compiled programs and their buffers; a program that is used again is recompiled. */
  async dispose(): Promise<void> {
    this.scratch.clear()
    await this.programs.dispose()
  }

  private async embedBackward(
    tokens: Int32Array,
    weights: DeviceWeights,
    dx: DeviceBuffer,
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
    const values: Buffers = { ...this.embedValues(tokens, weights), 'd x': dx }
    for (const name of this.sideInputs.keys()) values[`d ${name}`] = this.sideGradient(name)
    const out = await this.runIntoScratch(embed, values)
    const tables = this.architecture.tables(this.config)
    for (const name of names)
      if (name in tables) gradients.get(name)?.addRows(tokens, out[`d ${name}`])
      else gradients.get(name)?.add(out[`d ${name}`])
  }

  /** The gradient of a side input, to be added to. */
  private sideGradient(name: string): DeviceBuffer {
    const known = this.sideGradients.get(name)
    if (known) return known
    const zeros = this.backend.zeros(weight(this.sideInputs, name).length)
    this.sideGradients.set(name, zeros)
    return zeros
  }

  private embedValues(tokens: Int32Array, weights: DeviceWeights): Buffers {
    const { tables, embedTensors } = this.architecture
    const values: Buffers = {}
    for (const [name, [, columns]] of Object.entries(tables(this.config)))
      values[name] =
        weights.rows?.(name, tokens, columns) ??
        this.backend.gatherRows(weight(weights, name), tokens, columns)
    for (const name of Object.keys(embedTensors(this.config))) values[name] = weight(weights, name)
    return values
  }

  /** The residual stream after the last block of the last forward pass, (windows * length, width). */
  get output(): DeviceBuffer {
    return this.stream[this.config.layers]
  }

  /** The head's tensors as its programs take them. */
  headWeights(weights: DeviceWeights): Buffers {
    const names = Object.keys(this.architecture.headTensors(this.config))
    return Object.fromEntries(names.map((name) => [name, weight(weights, name)]))
  }

  /** A block's inputs as its programs take them. */
  blockValues(layer: number, { x, sideInputs }: Activations, weights: DeviceWeights): Buffers {
    const { architecture, config, batch } = this
    const values: Buffers = { x }
    for (const [name, source] of Object.entries(architecture.consumes(config, layer, batch)))
      values[name] = this.pieceOf(weight(sideInputs, source.from), source)
    for (const name of Object.keys(architecture.blockTensors(config, layer)))
      values[name] = weight(weights, `blk.${layer}.${name}`)
    return values
  }

  /** A block's part of a value that several blocks share. */
  private pieceOf(values: DeviceBuffer, { shape, piece }: Source): DeviceBuffer {
    if (piece === undefined) return values
    const size = shape.reduce((n, d) => n * d, 1)
    return this.backend.view(values, piece * size, (piece + 1) * size)
  }

  /** Seconds that compiling programs has taken. */
  get compiling(): number {
    return this.programs.compiling
  }

  /** Frees a program and its buffers. */
  release(key: string): Promise<void> {
    return this.programs.release(key)
  }

  /** The program of a graph, compiled once for each key. */
  program(key: string, graph: () => ProgramGraph, keepsMemory = this.keepsMemory): Promise<Program> {
    return this.programs.get(key, () => this.backend.compile(graph(), keepsMemory))
  }
}

const pick = <T>(record: Readonly<Record<string, T>>, names: readonly string[]): Record<string, T> =>
  Object.fromEntries(names.map((name) => [name, record[name]]))

function weight(weights: Pick<DeviceWeights, 'get'>, name: string): DeviceBuffer {
  const values = weights.get(name)
  if (!values) throw new RangeError(`no values for ${name}`)
  return values
}
