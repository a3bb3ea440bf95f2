/**
 * The head of a network and its loss, in slices of tokens, since tokens x vocabulary does not fit in memory for real vocabularies.
 *
 * The loss is the KL divergence from a teacher, whose head runs in the same program; or from the teacher's top-k tokens,
 * computed once, with all other tokens lumped together (a lower bound of the divergence, by the log-sum inequality); or the
 * cross-entropy of the next tokens.
 */

import type { Backend, Buffers, DeviceBuffer, DeviceWeights, Program } from '../backends/backend.js'
import {
  clip,
  exp,
  gatherElements,
  grad,
  logSoftmax,
  type ProgramGraph,
  sub,
  sum,
  topK,
} from '../graph/index.js'
import { headInputs, leastRest, lossGraph, type Model } from './block-graphs.js'
import { type Gradients, targetsOf } from './gradients.js'

/** The teacher's top-k tokens at each position. */
export interface TopK {
  /** (tokens, k), the most probable first. */
  readonly ids: Int32Array
  /** Their log-probabilities, (tokens, k). */
  readonly logProbabilities: Float32Array
  /** Probability of all others together, (tokens). */
  readonly rest: Float32Array
}

/** The target of the loss: the teacher's residual stream, its top-k tokens, or the next tokens. */
export type Target =
  | { readonly kind: 'teacher'; readonly weights: DeviceWeights; readonly hidden: DeviceBuffer }
  | ({ readonly kind: 'top'; readonly k: number } & TopK)
  | { readonly kind: 'tokens'; readonly tokens: Int32Array }

/** Approximate size of one slice's logits in bytes, so that they stay in the processor's cache. */
const sliceBytes = 4 << 20
/** Programs that run rarely are kept if a slice's logits are no larger. */
const keptBytes = 4 * sliceBytes

/** The part of a network that its head uses. */
export interface HeadHost extends Model {
  readonly backend: Backend
  /** Tokens of a batch. */
  readonly tokens: number
  /** The residual stream after the last block, (tokens, width). */
  readonly output: DeviceBuffer
  headWeights(weights: DeviceWeights): Buffers
  program(key: string, graph: () => ProgramGraph, keepsMemory?: boolean): Promise<Program>
  release(key: string): Promise<void>
  runIntoScratch(program: Program, inputs: Buffers, into?: Buffers): Promise<Buffers>
}

export class Head {
  /** Tokens of a slice. */
  private readonly slice: number

  constructor(private readonly network: HeadHost) {
    this.slice = sliceLength(network.tokens, network.config.vocabulary)
  }

  /** The loss at every position of the last forward pass, in nats. */
  async losses(weights: DeviceWeights, target: Target): Promise<Float32Array> {
    const { network, slice } = this
    const lossProgram = (): ProgramGraph => {
      const { inputs, losses } = lossGraph(network, slice, target)
      return { inputs, outputs: { losses } }
    }
    // It keeps its memory, since freeing logits of a large vocabulary after every run fragments the heap (LOG.md).
    const head = await network.program(lossKey(target), lossProgram, true)
    const { backend } = network
    const all = backend.zeros(network.tokens)
    for (const start of this.starts())
      await head.run(this.values(start, weights, target), { losses: backend.view(all, start, start + slice) })
    return backend.download(all)
  }

  /** Frees the loss program of a large vocabulary, which runs rarely and keeps the memory of its logits. */
  async release(target: Pick<Target, 'kind'> & { readonly k?: number }): Promise<void> {
    if (4 * this.slice * this.network.config.vocabulary > keptBytes)
      await this.network.release(lossKey(target))
  }

  /**
   * Returns the loss. Writes its gradient with respect to the residual stream to `dx`, and adds those with respect to the head's
   * tensors to the sums in `gradients`.
   */
  async backward(
    weights: DeviceWeights,
    target: Target,
    dx: DeviceBuffer,
    gradients: Gradients,
  ): Promise<number> {
    const { network, slice } = this
    const names = Object.keys(network.architecture.headTensors(network.config)).filter((name) =>
      gradients.has(name),
    )
    const head = await network.program(`head backward ${nameOf(target)} ${names}`, (): ProgramGraph => {
      const { inputs, loss } = lossGraph(network, slice, target)
      const [dIn, ...dWeights] = grad(loss, [inputs.x, ...names.map((name) => inputs[name])])
      const named = names.map((name, i) => [`d ${name}`, dWeights[i]] as const)
      return { inputs, outputs: { loss, dx: dIn, ...Object.fromEntries(named) } }
    })
    const { backend } = network
    const { width } = network.config
    const starts = [...this.starts()]
    const losses = backend.zeros(starts.length)
    for (const [i, start] of starts.entries()) {
      const into = targetsOf(gradients, names)
      const out = await network.runIntoScratch(head, this.values(start, weights, target), into)
      backend.copy(backend.view(dx, start * width, (start + slice) * width), out.dx)
      backend.copy(backend.view(losses, i, i + 1), out.loss)
      for (const name of names) gradients.get(name)?.add(out[`d ${name}`])
    }
    return (await backend.download(losses)).reduce((total, loss) => total + loss, 0)
  }

  /** Logits (windows * length, vocabulary) of the last forward pass. */
  async logits(weights: DeviceWeights): Promise<Float32Array> {
    const { backend, architecture, config, tokens } = this.network
    const head = await this.network.program('logits', () => {
      const { x, outer } = headInputs(this.network, this.slice)
      return { inputs: { x, ...outer }, outputs: { logits: architecture.head(config, x, outer) } }
    })
    const logits = backend.zeros(tokens * config.vocabulary)
    for (const start of this.starts()) {
      const [from, to] = [start * config.vocabulary, (start + this.slice) * config.vocabulary]
      const into = backend.view(logits, from, to)
      await head.run({ x: this.stream(start), ...this.network.headWeights(weights) }, { logits: into })
    }
    return backend.download(logits)
  }

  /** The top-k tokens at every position of the last forward pass. */
  async top(weights: DeviceWeights, k: number): Promise<TopK> {
    const { backend, architecture, config, tokens } = this.network
    const head = await this.network.program(`top ${k}`, () => {
      const { x, outer } = headInputs(this.network, this.slice)
      const all = logSoftmax(architecture.head(config, x, outer))
      const ids = topK(all, k)
      const logProbabilities = gatherElements(all, ids)
      const rest = clip(sub(1, sum(exp(logProbabilities), [1])), leastRest, 1)
      return { inputs: { x, ...outer }, outputs: { ids, logProbabilities, rest } }
    })
    const top = {
      ids: new Int32Array(tokens * k),
      logProbabilities: new Float32Array(tokens * k),
      rest: new Float32Array(tokens),
    }
    for (const start of this.starts()) {
      const own = sliceOf(top, start, this.slice, k)
      const out = await head.run({ x: this.stream(start), ...this.network.headWeights(weights) })
      own.ids.set(await backend.download<Int32Array>(out.ids))
      own.logProbabilities.set(await backend.download(out.logProbabilities))
      own.rest.set(await backend.download(out.rest))
    }
    return top
  }

  private *starts(): Generator<number> {
    for (let start = 0; start < this.network.tokens; start += this.slice) yield start
  }

  private values(start: number, weights: DeviceWeights, target: Target): Buffers {
    const { network, slice } = this
    const { backend } = network
    const values: Buffers = { x: this.stream(start), ...network.headWeights(weights) }
    if (target.kind === 'tokens')
      return { ...values, next: backend.upload(target.tokens.subarray(start, start + slice)) }
    if (target.kind === 'top') {
      const own = Object.entries(sliceOf(target, start, slice, target.k))
      return { ...values, ...Object.fromEntries(own.map(([name, part]) => [name, backend.upload(part)])) }
    }
    const { width } = network.config
    for (const [name, own] of Object.entries(network.headWeights(target.weights)))
      values[`teacher ${name}`] = own
    return { ...values, hidden: backend.view(target.hidden, start * width, (start + slice) * width) }
  }

  private stream(start: number): DeviceBuffer {
    const { backend, config, output } = this.network
    return backend.view(output, start * config.width, (start + this.slice) * config.width)
  }
}

/** Targets with the same name share their programs. */
const nameOf = ({ kind, k }: Pick<Target, 'kind'> & { readonly k?: number }): string =>
  kind === 'top' ? `top ${k}` : kind
const lossKey = (target: Parameters<typeof nameOf>[0]): string => `loss ${nameOf(target)}`

const sliceOf = (top: TopK, start: number, count: number, k: number): { [K in keyof TopK]: TopK[K] } => ({
  ids: top.ids.subarray(start * k, (start + count) * k),
  logProbabilities: top.logProbabilities.subarray(start * k, (start + count) * k),
  rest: top.rest.subarray(start, start + count),
})

/** The largest divisor of `tokens` whose logits stay near `sliceBytes`; about 128 tokens at least, or products get slow. */
function sliceLength(tokens: number, vocabulary: number): number {
  const wanted = Math.max(128, Math.floor(sliceBytes / (4 * vocabulary)))
  let slice = Math.min(tokens, wanted)
  while (tokens % slice !== 0) slice--
  return slice
}
