/** Training on the GPU: the losses and gradients of the processor, files that pass the check of the export, and runs that resume. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Backend } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { onnxruntime } from '../../src/backends/onnxruntime.js'
import { WebGpu } from '../../src/backends/webgpu/webgpu.js'
import type { TrainOptions } from '../../src/config/options.js'
import { onDevice } from '../../src/engine/device-weights.js'
import { Network } from '../../src/engine/network.js'
import { openGguf } from '../../src/gguf/index.js'
import { architectureOf } from '../../src/models/table.js'
import { readModel } from '../../src/models/weights.js'
import { totalOf } from '../../src/plan/memory.js'
import { planTraining, train } from '../../src/train/train.js'
import { randomTokens } from '../support/logits.js'
import { tensorData } from '../support/stock.js'
import { tinyVocabulary } from '../support/tiny-gguf.js'
import { type TinyVariant, writeTinyVariant } from '../support/tiny-models.js'
import { zerosLike } from '../support/tiny-network.js'
import { writeTrainingModels } from '../support/training-models.js'
import { missing, webgpu } from '../support/webgpu.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-webgpu-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await writeTrainingModels(folder)
})
afterAll(async () => {
  await webgpu.dispose()
  await rm(folder, { recursive: true, force: true })
})

/** What runs a program. */
interface Runs {
  run(feeds: object): Promise<object>
}

const small = { width: 32, heads: 2, headsKV: 1, feedForward: 48, layers: 2 }
const variants: Record<string, TinyVariant> = {
  qwen2: { ...small, architecture: 'qwen2', biases: ['blk.1.attn_k', 'output'] },
  'gemma3, window': {
    ...small,
    ...{ architecture: 'gemma3', tied: true },
    metadata: {
      'attention.sliding_window': 5,
      'attention.sliding_window_pattern': 2,
      final_logit_softcapping: 10,
    },
  },
  'gemma4, an embedding for each layer': {
    ...small,
    ...{ architecture: 'gemma4', layers: 4, tied: true },
    gemma4: { slides: [true, false, true, false], headWidthSliding: 8, perLayer: 16, shared: 2 },
  },
}

/** The loss of every token and the gradient of every tensor, from the likeliest tokens of a teacher with other weights. */
async function losses(backend: Backend, path: string) {
  const gguf = await openGguf(path)
  const architecture = architectureOf(gguf)
  const config = await architecture.read(gguf)
  const weights = await readModel(gguf, architecture, config)
  await gguf.close()
  const network = new Network(backend, architecture, config, { windows: 2, length: 12 })
  const own = onDevice(backend, weights)
  const moved = new Map([...weights].map(([name, values]) => [name, values.map((x) => 1.05 * x)]))
  const teacher = onDevice(backend, moved)
  const tokens = randomTokens(network.tokens, tinyVocabulary, 2)
  await network.forward(tokens, teacher)
  const top = await network.head.top(teacher, 8)
  await network.forward(tokens, own)
  const target = { kind: 'top', k: 8, ...top } as const
  const perToken = await network.losses(own, target)
  const gradients = zerosLike(backend, weights)
  await network.backward(tokens, own, target, gradients)
  const found = new Map<string, Float32Array>()
  for (const [name, { values }] of gradients) found.set(name, await backend.download(values))
  await network.dispose()
  return { perToken, gradients: found }
}

const rms = (x: Float32Array): number => Math.hypot(...x) / Math.sqrt(x.length)

describe.skipIf(missing)('on the GPU', () => {
  test.each(Object.keys(variants))('losses and gradients of %s', async (name) => {
    const path = join(folder, 'variant.gguf')
    await writeTinyVariant(path, variants[name])
    const [wanted, found] = [await losses(cpu, path), await losses(webgpu, path)]
    for (const [i, loss] of wanted.perToken.entries())
      expect(Math.abs(found.perToken[i] - loss), `token ${i}`).toBeLessThan(1e-5)
    expect(found.gradients.size).toBeGreaterThan(10)
    for (const [tensor, gradient] of wanted.gradients) {
      const other = found.gradients.get(tensor) as Float32Array
      const error = rms(gradient.map((value, i) => value - other[i]))
      expect(error, tensor).toBeLessThanOrEqual(1e-4 * rms(gradient))
    }
  })

  const options = (name: string, more: Partial<TrainOptions>): TrainOptions => ({
    ...{ input: join(folder, 'llama.gguf'), output: join(folder, `${name}.gguf`), type: 'Q4_0' },
    ...{ data: [join(folder, 'text.txt')], tokens: 128, context: 32, batch: 64, validation: 64 },
    ...more,
  })

  const distilled = { method: 'distill', type: 'MXFP4', steps: 2, checkpointEvery: 0 } as const

  test.each([
    // Types whose quantizer takes no importances, which differ in the last bits.
    ['distill', distilled],
    ['scales', { type: 'NVFP4', steps: 2 }],
    ['blockwise', { calibration: 256 }],
  ] as const)(
    '%s: the first losses are those of the processor, and the file passes its check',
    async (method, more) => {
      const run = async (device: 'cpu' | 'webgpu') => {
        const losses: number[] = []
        const report = await train({
          ...options(`${method}-${device}`, { method, calibration: 0, device, ...more }),
          onProgress: ({ loss }) => loss !== undefined && losses.push(loss),
        })
        return { losses, report }
      }
      const [wanted, found] = [await run('cpu'), await run('webgpu')]
      expect(found.report.plan.device).toEqual({ name: 'webgpu' })
      const stock = ({ report }: typeof wanted): number => report.validation[0].mean
      expect(Math.abs(stock(found) - stock(wanted))).toBeLessThan(1e-5)
      if (wanted.losses.length > 0) expect(Math.abs(found.losses[0] - wanted.losses[0])).toBeLessThan(1e-5)
      expect(found.report.check.differing).toBe(0)
      for (const [i, { kld }] of wanted.report.stages.entries())
        expect(Math.abs(found.report.stages[i].kld.mean / kld.mean - 1)).toBeLessThan(0.1)
    },
  )

  test('a run that was stopped resumes to the same bytes, on the same device alone', async () => {
    const settings = { ...distilled, calibration: 0, device: 'webgpu' } as const
    const stop = new AbortController()
    const onProgress: TrainOptions['onProgress'] = ({ stage, done }) => {
      if (stage === 'train' && done === 1) stop.abort()
    }
    const stopped = options('stopped', settings)
    await expect(train({ ...stopped, signal: stop.signal, onProgress })).rejects.toThrow('--resume')
    await expect(train({ ...stopped, device: 'cpu', resume: true })).rejects.toThrow(
      /other settings \(--device webgpu, now --device cpu\)/,
    )
    const { device: _, ...others } = stopped
    const resumed = await train({ ...others, resume: true })
    expect(await tensorData(resumed.path)).toEqual(await tensorData(join(folder, 'distill-webgpu.gguf')))
  })

  test('a run whose device is lost says so, and resumes from its last checkpoint to the same bytes', async () => {
    const lost = options('lost', { ...distilled, calibration: 0, device: 'webgpu' })
    const { InferenceSession } = onnxruntime() as unknown as { InferenceSession: { prototype: Runs } }
    const onProgress: TrainOptions['onProgress'] = ({ stage, done }) => {
      if (stage === 'train' && done === 2)
        vi.spyOn(InferenceSession.prototype, 'run').mockRejectedValue(
          new Error('Device is lost.\n  at a place'),
        )
    }
    await expect(train({ ...lost, onProgress })).rejects.toThrow(
      /^the GPU failed \(Device is lost\.\); .* --resume$/,
    )
    vi.restoreAllMocks()
    const steps: number[] = []
    const resumed = await train({
      ...lost,
      resume: true,
      onProgress: ({ stage, done }) => stage === 'train' && steps.push(done),
    })
    expect(steps).toEqual([2])
    expect(await tensorData(resumed.path)).toEqual(await tensorData(join(folder, 'distill-webgpu.gguf')))
  })

  test('one block in memory at a time, as --device-memory allows', async () => {
    const more = { method: 'blockwise', embeddings: 'no', calibration: 128, device: 'webgpu' } as const
    const asked = options('one-block', more)
    const { inMemory, stages } = await planTraining(asked)
    expect(inMemory).toBe(true)
    const [{ deviceMemory: items = [] }] = stages
    const report = await train({ ...asked, deviceMemory: Math.floor(totalOf(items)) - 1 })
    expect(report.plan.inMemory).toBe(false)
    expect(report.plan.stages[0].deviceMemory?.length).toBeGreaterThan(3)
    expect(report.check.differing).toBe(0)
    expect(report.check.tensors).toBeGreaterThan(0)
  })

  test('too little memory of the GPU is told before any work', async () => {
    const short = { method: 'distill', device: 'webgpu', deviceMemory: 1e6 } as const
    await expect(train(options('short', short))).rejects.toThrow(/GPU's memory and --device-memory allows/)
  })

  test('buffers that nobody can reach are freed, and too many are refused', async () => {
    const device = new WebGpu(1 << 20)
    for (let i = 0; i < 20; i++) await device.download(device.upload(new Float32Array(1 << 16).fill(i)))
    expect(device.device.peak).toBeLessThanOrEqual(1 << 20)
    await expect(device.download(device.upload(new Float32Array(1 << 19)))).rejects.toThrow('--device-memory')
  })
})
