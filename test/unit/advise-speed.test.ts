/** Speed from bandwidth and arithmetic, on machines that are described. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { GpuSpec } from '../../src/advise/machine/gpu.js'
import { describeMachine, type Machine, type Rate } from '../../src/advise/machine/machine.js'
import { calibrationOf, recordSpeeds } from '../../src/advise/speed/calibration.js'
import { estimateSpeed } from '../../src/advise/speed/estimate.js'
import { workOf } from '../../src/advise/speed/work.js'
import { Store } from '../../src/compare/store.js'
import { type Gguf, openGguf } from '../../src/gguf/index.js'
import { type Bench, spreadOf, thisMachine } from '../../src/speed/index.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: Gguf
const path = (): string => join(folder, 'model.gguf')
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-advise-speed-'))
  await writeTinyGguf(path(), { layers: 4, width: 64, headsKV: 2, feedForward: 128 })
  model = await openGguf(path())
  await model.close()
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const card: GpuSpec = {
  ...{ name: 'card', vramBytes: 2 ** 33, bandwidth: 1e12, flops: 1e14 },
  ...{ nvfp4Native: false, unified: false },
}
const withRate = (rate: Rate): Machine => {
  const machine = describeMachine({ ramBytes: 2 ** 34 })
  return { ...machine, described: false, cpu: { ...machine.cpu, rates: new Map([['F32', rate]]) } }
}

describe('what a token reads', () => {
  test('is every weight but the rows of the embedding that it does not name', () => {
    const { weights } = workOf(model, {})
    const embedding = model.tensor('token_embd.weight')
    const all = model.tensors.reduce((sum, { bytes }) => sum + bytes, 0)
    expect(weights).toHaveLength(1)
    expect(weights[0].bytes).toBe(all - embedding.bytes)
  })

  test('lies where the layers do', () => {
    const { weights } = workOf(model, { gpuLayers: 3 })
    const onGpu = weights.filter(({ device }) => device === 0).reduce((sum, { bytes }) => sum + bytes, 0)
    const last = model.tensors.filter(({ name }) => /^(blk\.[23]|output)/.test(name))
    expect(onGpu).toBe(last.reduce((sum, { bytes }) => sum + bytes, 0))
  })

  test('grows with the cache', () => {
    // Keys and values of 2 heads of 16 numbers in 4 layers, two bytes each.
    expect(workOf(model, { depth: 100 }).cache.get(-1)).toBeCloseTo(100 * 4 * 2 * 2 * 16 * 2)
  })
})

describe('an estimate', () => {
  test('follows measured rates', () => {
    const machine = withRate({ bytesPerSecond: 1e9, flops: 1e9 })
    const [work] = workOf(model, {}).weights
    const { generate, prompt, basis } = estimateSpeed(workOf(model, {}), machine)
    expect(generate.expected).toBeCloseTo(1e9 / work.bytes)
    expect(prompt.expected).toBeCloseTo(1e9 / (2 * work.weights))
    expect(basis).toBe('probe')
    expect(generate.low).toBeLessThan(generate.expected)
  })

  test('says what it rests on, and is wider the less that is', () => {
    const sheet = describeMachine({ ramBytes: 2 ** 34, gpus: [card], ramBandwidth: 8e10 })
    const onCard = estimateSpeed(workOf(model, { gpuLayers: Number.POSITIVE_INFINITY }), sheet)
    const guess = estimateSpeed(workOf(model, {}), describeMachine({ ramBytes: 2 ** 34 }))
    expect(onCard.basis).toBe('data sheet')
    expect(guess.basis).toBe('guess')
    expect(guess.generate.high / guess.generate.low).toBeGreaterThan(
      onCard.generate.high / onCard.generate.low,
    )
  })

  test('of a draft whose every guess is wrong is slower than none', () => {
    const machine = withRate({ bytesPerSecond: 1e9, flops: 1e9 })
    const draft = { bytes: 10_000, guesses: 4 }
    const [lost, won] = [0, 0.9].map((accepted) =>
      estimateSpeed(workOf(model, {}), machine, undefined, { ...draft, accepted }),
    )
    expect(lost.drafted!.expected).toBeLessThan(lost.generate.expected)
    expect(won.drafted!.expected).toBeGreaterThan(won.generate.expected)
  })
})

test('speeds that were measured here correct the estimates of other files', async () => {
  const store = await Store.open(join(folder, 'store.db'))
  try {
    const machine = withRate({ bytesPerSecond: 1e9, flops: 1e9 })
    const work = workOf(model, { depth: 32 })
    const plain = estimateSpeed(work, machine).generate.expected
    const file = {
      ...{ path: path(), type: 'F32', bytes: 1, bitsPerWeight: 32, loadMs: spreadOf([1]) },
      memory: {
        weightsBytes: 0,
        kvBytes: 0,
        contextTokens: 0,
        computeBytes: 0,
        outputBytes: 0,
        residentBytes: 0,
      },
      threads: 1,
      tests: [
        {
          kind: 'generate',
          tokens: 64,
          depth: 0,
          tokensPerSecond: spreadOf([plain / 2]),
          relative: spreadOf([1]),
        },
      ],
    } as const
    const settings = { repetitions: 1, threads: null, kvType: 'f16', gpuLayers: 0 }
    const bench: Bench = { machine: { ...thisMachine(), llamaVersion: '0' }, settings, files: [file] }
    await recordSpeeds(store, bench)
    const calibration = calibrationOf(store, machine)
    expect(calibration.generate[0].ratio).toBeCloseTo(2)
    const corrected = estimateSpeed(work, machine, calibration)
    expect(corrected.generate.expected).toBeCloseTo(plain / 2)
    expect(corrected.basis).toBe('bench')
    const large = { ...work, weights: work.weights.map((each) => ({ ...each, bytes: 100 * each.bytes })) }
    expect(estimateSpeed(large, machine, calibration).basis).toBe('probe')
  } finally {
    store.close()
  }
})
