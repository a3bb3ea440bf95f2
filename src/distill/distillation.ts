/**
 * Quantization-aware training by distillation from the model's own full precision, end to end: the loss is the KL
 * divergence from the teacher's next-token distribution to the student's, at every position, so no labels are needed
 * and the model is not changed into another one.
 *
 * The teacher's residual stream after the last block is cached for repeated windows: it is exact, and smaller than its
 * logits by the ratio of vocabulary to width. Or its top-k tokens are cached, in a file (top-k.ts).
 */

import { copyOf, type DeviceWeights, joined } from '../backends/backend.js'
import { joinWindows } from '../data/windows.js'
import type { Gradients } from '../engine/gradients.js'
import type { Target } from '../engine/head.js'
import type { Network } from '../engine/network.js'
import type { TeacherCache } from '../engine/teacher-cache.js'
import { optimize, type StepRates } from '../optimizer/optimizer.js'
import type { Optimizer, Parameter } from '../optimizer/parameter.js'
import {
  type Divergence,
  divergenceOf,
  inWholeBatches,
  type KindWindows,
  windowMeans,
} from '../validation/validation.js'
import type { TopKCache } from './top-k.js'

export class Distillation {
  private gradients: Gradients | undefined
  /** If set, steps train from these instead of the teacher's whole distribution. */
  top: TopKCache | undefined

  constructor(
    readonly network: Network,
    readonly teacher: DeviceWeights,
    readonly cache: TeacherCache,
    readonly parameters: readonly Parameter[],
    readonly optimizer: Optimizer,
    /** Weights that the student's forward pass uses: the parameters' rounded weights, and the frozen tensors. */
    readonly student: DeviceWeights,
  ) {}

  /** Rounds the latents. Call it before the first step and after latents were changed from outside. */
  async round(): Promise<void> {
    for (const p of this.parameters) await p.round()
  }

  /**
   * Takes one optimizer step. `windows` are a whole number of batches, whose gradients are accumulated.
   * Returns the mean KL divergence before the step, in nats per token.
   */
  async step(
    windows: readonly Int32Array[],
    number: number,
    rates: StepRates,
    clip: number,
  ): Promise<number> {
    this.gradients ??= new Map(this.parameters.map((p) => [p.name, p.gradient]))
    let loss = 0
    for (const batch of this.batches(windows)) {
      const target: Target = this.top
        ? { kind: 'top', k: this.top.k, ...(await this.top.get(batch)) }
        : await this.target(batch)
      const tokens = joinWindows(batch)
      await this.network.forward(tokens, this.student)
      loss += await this.network.backward(tokens, this.student, target, this.gradients)
    }
    const tokens = windows.length * this.network.batch.length
    await optimize(this.parameters, this.optimizer, rates, { tokens, clip, number })
    return loss / tokens
  }

  /**
   * Mean KL divergence of each window, by kind of text.
   * @param onProgress called with the number of batches done before each batch and at the end. May throw to stop.
   */
  async validate(
    text: readonly KindWindows[],
    onProgress?: (done: number, total: number) => void,
  ): Promise<Divergence> {
    const { network } = this
    const means: number[] = []
    const batches = inWholeBatches(text, network.batch.windows)
    for (const [i, batch] of batches.entries()) {
      onProgress?.(i, batches.length)
      const target = await this.target(batch)
      await network.forward(joinWindows(batch), this.student)
      means.push(...windowMeans(await network.losses(this.student, target), network.batch.length))
    }
    onProgress?.(batches.length, batches.length)
    await network.head.release({ kind: 'teacher' })
    return divergenceOf(text, means)
  }

  private *batches(windows: readonly Int32Array[]): Generator<readonly Int32Array[]> {
    const size = this.network.batch.windows
    if (windows.length === 0 || windows.length % size !== 0)
      throw new RangeError(`${windows.length} windows are no whole number of batches of ${size}`)
    for (let i = 0; i < windows.length; i += size) yield windows.slice(i, i + size)
  }

  private async target(batch: readonly Int32Array[]): Promise<Target> {
    const { network, cache, teacher } = this
    const { backend } = network
    const known = batch.map((window) => cache.get(window))
    if (known.every((stream) => stream !== undefined)) {
      const parts = known.map((stream) => backend.upload(stream))
      return { kind: 'teacher', weights: teacher, hidden: joined(backend, parts) }
    }
    // Copied, since the student's pass overwrites the result of this one.
    const hidden = copyOf(backend, await network.forward(joinWindows(batch), teacher))
    const size = network.batch.length * network.config.width
    const values = await backend.download(hidden)
    for (const [i, window] of batch.entries()) cache.set(window, values.subarray(i * size, (i + 1) * size))
    return { kind: 'teacher', weights: teacher, hidden }
  }
}
