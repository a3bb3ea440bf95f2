/** Shared by the training benches: a student of a model as `quench train --method distill` makes and trains it. */

import { spawnSync } from 'node:child_process'
import { join as joinPath } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Backend } from '../src/backends/backend.js'
import { cpu } from '../src/backends/cpu/cpu.js'
import { Distillation } from '../src/distill/distillation.js'
import { onDevice } from '../src/engine/device-weights.js'
import { Network } from '../src/engine/network.js'
import { TeacherCache } from '../src/engine/teacher-cache.js'
import type { Batch } from '../src/models/architecture.js'
import type { Parameter } from '../src/optimizer/parameter.js'
import { Optimizer } from '../src/optimizer/parameter.js'
import { Random } from '../src/random.js'
import { openSource, type Source, targetTypes } from '../src/student/source.js'
import { makeStudent } from '../src/student/student.js'

/** Learning rates and gradient clipping norm of `quench train`. */
export const rates = { weightRate: 0.003, scaleRate: 0.0005 }
export const clip = 1

export interface Trainer {
  readonly source: Source
  readonly network: Network
  readonly distillation: Distillation
  readonly parameters: readonly Parameter[]
  readonly optimizer: Optimizer
  dispose(): Promise<void>
}

/**
 * A student initialized with the reference quantizer's codes. The teacher's stream is not kept, so it is computed in every
 * step.
 */
export async function makeTrainer(
  model: string,
  type: string,
  batch: Batch,
  backend: Backend = cpu,
): Promise<Trainer> {
  const source = await openSource(model)
  const network = new Network(backend, source.architecture, source.config, batch)
  const optimizer = new Optimizer()
  const { parameters, weights } = await makeStudent(backend, source, targetTypes(source, { type }))
  const cache = new TeacherCache(0)
  const teacher = onDevice(backend, source.weights)
  const distillation = new Distillation(network, teacher, cache, parameters, optimizer, weights)
  await distillation.round()
  return {
    source,
    network,
    distillation,
    parameters,
    optimizer,
    async dispose() {
      await network.dispose()
      await optimizer.dispose()
      await source.gguf.close()
    },
  }
}

const inProject = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url))

/** The shipped model, or `block`: one full-size block of random weights, written to `folder`. */
export function modelPath(model: string, folder: string): string {
  if (model === 'shipped') return inProject('models/quench-5m-f16.gguf')
  const path = joinPath(folder, `${model}.gguf`)
  const args = ['--import', 'tsx', inProject('scripts/random-model.ts'), model, path]
  const { status } = spawnSync(process.execPath, args, { stdio: ['ignore', 2, 2], cwd: inProject('.') })
  if (status !== 0) throw new Error(`no model "${model}"`)
  return path
}

/** Windows of random tokens from the whole vocabulary. */
export function randomWindows({ windows, length }: Batch, vocabulary: number, seed: number): Int32Array[] {
  const random = new Random(seed)
  return Array.from({ length: windows }, () => Int32Array.from({ length }, () => random.int(vocabulary)))
}

/** Median and quartiles. */
export function quartiles(values: readonly number[]): { low: number; median: number; high: number } {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))]
  return { low: at(0.25), median: at(0.5), high: at(0.75) }
}
