/**
 * A model as compiled programs. One block is one program, compiled once and run for every layer with that layer's
 * weights as inputs. The forward pass keeps the input of every block; the backward pass computes a block again from
 * its input, so memory is one block's activations. The head runs on slices of tokens, since tokens x vocabulary does
 * not fit for real vocabularies.
 *
 * Measured on two cores (width 256, 2,048 tokens): keeping the activations of a block instead of computing them again
 * costs 23 ms in the forward pass, which writes them, and saves 14 ms in the backward pass.
 */

import {
  constant,
  equal,
  exp,
  grad,
  input,
  logSoftmax,
  matmul,
  mul,
  neg,
  reshape,
  sub,
  sum,
  type Tensor,
  where,
} from '../graph/index.js'
import type { Architecture, Batch, ModelConfig } from '../models/architecture.js'
import { Program, type Values } from '../runtime/program.js'
import { matrixInputs } from './matrix-inputs.js'

/** Weights or gradients by GGUF name, f32, rows of the matrix one after another. */
export type Weights = ReadonlyMap<string, Float32Array>

/** What the head compares with: the teacher's residual stream (KL divergence) or the next tokens (cross-entropy). */
export type Target =
  | { readonly kind: 'teacher'; readonly weights: Weights; readonly hidden: Float32Array }
  | { readonly kind: 'tokens'; readonly tokens: Int32Array }

/** Logits of one slice of the head are to stay near this size, in bytes, so that they live in a processor's cache. */
const sliceBytes = 4 << 20

export class Network {
  /** Input of every block, and the output of the last: (windows * length, width) each. */
  private readonly stream: Float32Array[]
  private readonly programs = new Map<string, Promise<Program>>()
  private readonly scratch = new Map<Program, Record<string, Float32Array>>()
  private readonly inputNames = new Map<string, ReadonlyMap<string, string>>()
  /** Tokens of a slice of the head. */
  private readonly slice: number
  readonly tokens: number

  constructor(
    readonly architecture: Architecture,
    readonly config: ModelConfig,
    readonly batch: Batch,
  ) {
    this.tokens = batch.windows * batch.length
    this.slice = sliceLength(this.tokens, config.vocabulary)
    const size = this.tokens * config.width
    this.stream = Array.from({ length: config.layers + 1 }, () => new Float32Array(size))
  }

  /** The residual stream after the last block, (windows * length, width), valid until the next pass. */
  async forward(tokens: Int32Array, weights: Weights): Promise<Float32Array> {
    await this.embed(tokens, weights)
    for (let layer = 0; layer < this.config.layers; layer++)
      await this.block(layer, this.stream[layer], weights, this.stream[layer + 1])
    return this.stream[this.config.layers]
  }

  /** The residual stream before the first block, valid until the next pass. */
  async embed(tokens: Int32Array, weights: Weights): Promise<Float32Array> {
    const embed = await this.program('embed', () => {
      const { ids, outer } = this.embedInputs()
      return { inputs: { ids, ...outer }, outputs: { x: this.architecture.embed(this.config, ids, outer) } }
    })
    await embed.run({ ids: tokens, ...this.outerValues(weights) }, { x: this.stream[0] })
    return this.stream[0]
  }

  /** One block: the residual stream after it, from the one before it. */
  async block(layer: number, x: Float32Array, weights: Weights, into?: Float32Array): Promise<Float32Array> {
    const block = await this.program(`block ${this.blockKey(layer)}`, () => {
      const { x, w } = this.blockInputs(layer)
      return { inputs: { x, ...w }, outputs: { y: this.architecture.block(this.config, x, w, this.batch) } }
    })
    const { y } = await block.run({ x, ...this.blockValues(layer, weights) }, into ? { y: into } : {})
    return y
  }

  /**
   * Second moments X'X, (n, n), of the inputs of a block's matrices, from the residual stream before the block. Matrices
   * that read the same input share an entry; `inputOf` gives its name.
   */
  async inputMoments(layer: number, x: Float32Array, weights: Weights): Promise<Map<string, Float32Array>> {
    const program = await this.program(`moments ${this.blockKey(layer)}`, () => {
      const { x, w } = this.blockInputs(layer)
      const inputs = matrixInputs(this.architecture.block(this.config, x, w, this.batch), w)
      const outputs: Record<string, Tensor> = {}
      for (const [name, activation] of inputs.activations)
        outputs[`moments ${name}`] = matmul(activation, activation, { transA: true })
      return { inputs: { x, ...w }, outputs }
    })
    const moments = await program.run({ x, ...this.blockValues(layer, weights) })
    return new Map(Object.entries(moments).map(([name, sums]) => [name.slice('moments '.length), sums]))
  }

  /** The entry of `inputMoments` that a tensor's inputs have; undefined if it is no matrix of the layer. */
  inputOf(layer: number, tensor: string): string | undefined {
    const prefix = `blk.${layer}.`
    if (!tensor.startsWith(prefix)) return undefined
    const key = this.blockKey(layer)
    let known = this.inputNames.get(key)
    if (!known) {
      const { x, w } = this.blockInputs(layer)
      known = matrixInputs(this.architecture.block(this.config, x, w, this.batch), w).names
      this.inputNames.set(key, known)
    }
    return known.get(tensor.slice(prefix.length))
  }

  /** Sum of the loss over all positions of the last forward pass, in nats. */
  async loss(weights: Weights, target: Target): Promise<number> {
    const head = await this.program(`loss ${target.kind}`, () => {
      const { inputs, loss } = this.headLoss(target.kind)
      return { inputs, outputs: { loss } }
    })
    let total = 0
    for (let start = 0; start < this.tokens; start += this.slice) {
      const { loss } = await head.run(this.headValues(start, weights, target))
      total += loss[0]
    }
    return total
  }

  /**
   * Backward pass after a forward pass on the same tokens and weights. Adds the gradients of the summed loss to
   * `gradients` and returns the loss in nats.
   */
  async backward(tokens: Int32Array, weights: Weights, target: Target, gradients: Weights): Promise<number> {
    const dx = new Float32Array(this.tokens * this.config.width)
    const loss = await this.headBackward(weights, target, dx, gradients)
    for (let layer = this.config.layers - 1; layer >= 0; layer--) {
      const names = Object.keys(this.architecture.blockTensors(this.config, layer))
      const block = await this.program(`block backward ${this.blockKey(layer)}`, () => {
        const { x, w } = this.blockInputs(layer)
        const dy = input(x.shape)
        const y = this.architecture.block(this.config, x, w, this.batch)
        const [dIn, ...dWeights] = grad(y, [x, ...names.map((name) => w[name])], dy)
        return {
          inputs: { x, ...w, dy },
          outputs: { dx: dIn, ...Object.fromEntries(names.map((name, i) => [`d ${name}`, dWeights[i]])) },
        }
      })
      const values = { x: this.stream[layer], ...this.blockValues(layer, weights), dy: dx }
      const out = await this.runIntoScratch(block, values)
      dx.set(out.dx)
      for (const name of names) accumulate(gradients, `blk.${layer}.${name}`, out[`d ${name}`])
    }
    const embed = await this.program('embed backward', () => {
      const { ids, outer } = this.embedInputs()
      const x = this.architecture.embed(this.config, ids, outer)
      const dy = input(x.shape)
      const [d] = grad(x, [outer['token_embd.weight']], dy)
      return { inputs: { ids, ...outer, dy }, outputs: { d } }
    })
    const { d } = await this.runIntoScratch(embed, { ids: tokens, ...this.outerValues(weights), dy: dx })
    accumulate(gradients, 'token_embd.weight', d)
    return loss
  }

  /** Logits (windows * length, vocabulary) of the last forward pass. */
  async logits(weights: Weights): Promise<Float32Array> {
    const head = await this.program('logits', () => {
      const { x, outer } = this.headInputs()
      return { inputs: { x, ...outer }, outputs: { logits: this.architecture.head(this.config, x, outer) } }
    })
    const logits = new Float32Array(this.tokens * this.config.vocabulary)
    for (let start = 0; start < this.tokens; start += this.slice) {
      const into = logits.subarray(
        start * this.config.vocabulary,
        (start + this.slice) * this.config.vocabulary,
      )
      await head.run({ x: this.streamSlice(start), ...this.outerValues(weights) }, { logits: into })
    }
    return logits
  }

  /** Runs a program whose results are used at once: they are written to arrays that the next run overwrites. */
  private async runIntoScratch(program: Program, values: Values): Promise<Record<string, Float32Array>> {
    const results = await program.run(values, this.scratch.get(program) ?? {})
    this.scratch.set(program, results)
    return results
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    for (const program of this.programs.values()) await (await program).dispose()
    this.programs.clear()
  }

  private async headBackward(
    weights: Weights,
    target: Target,
    dx: Float32Array,
    gradients: Weights,
  ): Promise<number> {
    const { width } = this.config
    const names = this.headNames()
    const head = await this.program(`head backward ${target.kind}`, () => {
      const { inputs, loss } = this.headLoss(target.kind)
      const [dIn, ...dWeights] = grad(loss, [inputs.x, ...names.map((name) => inputs[name])])
      return {
        inputs,
        outputs: { loss, dx: dIn, ...Object.fromEntries(names.map((name, i) => [`d ${name}`, dWeights[i]])) },
      }
    })
    let total = 0
    for (let start = 0; start < this.tokens; start += this.slice) {
      const out = await this.runIntoScratch(head, this.headValues(start, weights, target))
      dx.set(out.dx, start * width)
      total += out.loss[0]
      for (const name of names) accumulate(gradients, name, out[`d ${name}`])
    }
    return total
  }

  /** Tensors that the head reads; the token embedding is one of them only where the output is tied to it. */
  private headNames(): string[] {
    const names = Object.keys(this.architecture.outerTensors(this.config))
    return this.config.tied ? names : names.filter((name) => name !== 'token_embd.weight')
  }

  private headLoss(kind: Target['kind']): { inputs: Record<string, Tensor>; loss: Tensor } {
    const { x, outer } = this.headInputs()
    const logProbabilities = logSoftmax(this.architecture.head(this.config, x, outer))
    if (kind === 'teacher') {
      const hidden = input(x.shape)
      const teacher = Object.fromEntries(
        Object.entries(outer).map(([name, t]) => [`teacher ${name}`, input(t.shape)]),
      )
      const own = Object.fromEntries(Object.keys(outer).map((name) => [name, teacher[`teacher ${name}`]]))
      const expected = logSoftmax(this.architecture.head(this.config, hidden, own))
      const loss = sum(mul(exp(expected), sub(expected, logProbabilities)))
      return { inputs: { x, ...outer, hidden, ...teacher }, loss }
    }
    // A next token of -1 matches no column: a position that is not scored.
    const next = input([this.slice], 'int32')
    const columns = constant(Int32Array.from({ length: this.config.vocabulary }, (_, i) => i))
    const picked = where(equal(columns, reshape(next, [this.slice, 1])), logProbabilities, 0)
    return { inputs: { x, ...outer, next }, loss: neg(sum(picked)) }
  }

  private headValues(start: number, weights: Weights, target: Target): Values {
    const values: Values = { x: this.streamSlice(start), ...this.outerValues(weights) }
    if (target.kind === 'tokens')
      return { ...values, next: target.tokens.subarray(start, start + this.slice) }
    const { width } = this.config
    for (const name of Object.keys(this.architecture.outerTensors(this.config)))
      values[`teacher ${name}`] = weight(target.weights, name)
    return { ...values, hidden: target.hidden.subarray(start * width, (start + this.slice) * width) }
  }

  private streamSlice(start: number): Float32Array {
    const { width, layers } = this.config
    return this.stream[layers].subarray(start * width, (start + this.slice) * width)
  }

  private embedInputs(): { ids: Tensor; outer: Record<string, Tensor> } {
    return { ids: input([this.tokens], 'int32'), outer: this.outerInputs() }
  }

  private headInputs(): { x: Tensor; outer: Record<string, Tensor> } {
    return { x: input([this.slice, this.config.width]), outer: this.outerInputs() }
  }

  private outerInputs(): Record<string, Tensor> {
    const shapes = this.architecture.outerTensors(this.config)
    return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(shape)]))
  }

  private blockInputs(layer: number): { x: Tensor; w: Record<string, Tensor> } {
    const shapes = this.architecture.blockTensors(this.config, layer)
    const w = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(shape)]))
    return { x: input([this.tokens, this.config.width]), w }
  }

  private outerValues(weights: Weights): Values {
    const names = Object.keys(this.architecture.outerTensors(this.config))
    return Object.fromEntries(names.map((name) => [name, weight(weights, name)]))
  }

  private blockValues(layer: number, weights: Weights): Values {
    const names = Object.keys(this.architecture.blockTensors(this.config, layer))
    return Object.fromEntries(names.map((name) => [name, weight(weights, `blk.${layer}.${name}`)]))
  }

  /** Layers with the same tensors share their programs. */
  private blockKey(layer: number): string {
    return JSON.stringify(this.architecture.blockTensors(this.config, layer))
  }

  private program(key: string, graph: () => Parameters<typeof Program.compile>[0]): Promise<Program> {
    const known = this.programs.get(key)
    if (known) return known
    const program = Program.compile(graph())
    this.programs.set(key, program)
    return program
  }
}

/** The largest divisor of `tokens` whose logits stay near `sliceBytes`; at least 16 tokens where they divide. */
function sliceLength(tokens: number, vocabulary: number): number {
  const wanted = Math.max(16, Math.floor(sliceBytes / (4 * vocabulary)))
  let slice = Math.min(tokens, wanted)
  while (tokens % slice !== 0) slice--
  return slice
}

function weight(weights: Weights, name: string): Float32Array {
  const values = weights.get(name)
  if (!values) throw new RangeError(`no weights for ${name}`)
  return values
}

function accumulate(gradients: Weights, name: string, values: Float32Array): void {
  const total = gradients.get(name)
  if (!total) return // frozen
  for (let i = 0; i < total.length; i++) total[i] += values[i]
}
