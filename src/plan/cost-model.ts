/** The cost model: how long parts of a run take, from the probe's measurements. */

import type { Backend } from '../backends/backend.js'
import { Products } from '../backends/products.js'
import { fisherTokens } from '../blockwise/fisher.js'
import type { Item } from '../config/plan.js'
import type { Model } from '../student/source.js'
import { sizesOf } from './memory.js'
import type { PlanOptions } from './plan-options.js'
import type { BlockSeconds } from './probe.js'

/** Seconds of the block-wise stage in all blocks, item by item; most items scale with the weights of blocks relative to the first. */
export function solvingWork(
  model: Model,
  { calibration, importance, validation, weighs, trial, batch }: PlanOptions,
  inMemory: boolean,
  { prepare, forward, moments, rest, factors, rounding, compiling }: BlockSeconds,
): Item[] {
  if (calibration === 0) return []
  const deciding = Math.ceil(trial / batch)
  const batches = Math.floor(calibration / batch) + deciding
  const { all, outside, first } = sizesOf(model)
  const blocks = (all - outside) / first
  return [
    { what: 'compiling programs', amount: compiling },
    { what: 'PTQ, and packing the result', amount: blocks * prepare },
    { what: 'importance matrix', amount: blocks * Math.ceil(importance / batch) * forward },
    { what: 'forward passes of the student', amount: blocks * batches * rest },
    { what: 'Hessians (second moments of inputs)', amount: blocks * batches * moments },
    { what: 'Cholesky factors of the Hessians', amount: blocks * factors },
    { what: 'least-squares targets and rounding', amount: model.config.layers * rounding },
    // With one block at a time, the validation text passes through the blocks too, also through the reference quantizer's.
    {
      what: 'validation of teacher, student and PTQ',
      amount: inMemory ? 0 : blocks * (weighs === false ? 3 : 4) * Math.ceil(validation / batch) * forward,
    },
  ]
}

/** Seconds of one batch through all blocks, and through the output matrix. */
function passSeconds(
  model: Model,
  batch: number,
  forward: number,
  speed: number,
): { blocks: number; head: number } {
  const { all, outside, first } = sizesOf(model)
  const { vocabulary, width } = model.config
  return {
    blocks: forward * ((all - outside) / first),
    head: (2 * vocabulary * width * batch) / speed,
  }
}

/** Seconds of further work with the whole student in memory: Fisher information, and a validation with both models. */
export function otherSeconds(
  model: Model,
  { batch, validation }: PlanOptions,
  forward: number,
  speed: number,
): { fisher: number; validating: number } {
  const { blocks, head } = passSeconds(model, batch, forward, speed)
  return {
    fisher: Math.ceil(fisherTokens / batch) * (4 * blocks + 2 * head),
    validating: Math.ceil(validation / batch) * 2 * (blocks + head),
  }
}

/** Speedup of writing many sequences in parallel with an eight-bit copy over f32 products (Gemma 3 270M, LOG.md). */
const writingGain = 1.4

/** Tokens per second that the model writes. */
export function writingSpeed(model: Model, batch: number, forward: number, speed: number): number {
  const { blocks, head } = passSeconds(model, batch, forward, speed)
  return (writingGain * batch) / (blocks + head)
}

/** Operations per second of f32 products as wide as the model. */
export async function productSpeed(backend: Backend, width: number): Promise<number> {
  const products = new Products(backend)
  const [m, n] = [512, Math.min(width, 2048)]
  const [a, b] = [m * n, n * n].map((size) => backend.upload(new Float32Array(size).fill(0.1)))
  const multiply = async (): Promise<void> => {
    await products.ofBuffers(a, b, [m, n, n])
    await backend.finish?.()
  }
  try {
    await multiply()
    const began = performance.now()
    let runs = 0
    while (performance.now() - began < 60) {
      await multiply()
      runs++
    }
    return (runs * 2 * m * n * n) / ((performance.now() - began) / 1000)
  } finally {
    await products.dispose()
  }
}
