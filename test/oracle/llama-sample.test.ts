/** Texts that a model writes, and the arithmetic of drawing tokens. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LlamaModel, sampleSequences } from '../../src/llama/index.js'
import { Sampler } from '../../src/llama/sampler.js'
import { Random } from '../../src/random.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

describe('sampler', () => {
  const logits = Float32Array.from([9, 1, 3, 2, 0, -1]) // the row begins at 1
  const odds = Array.from(logits.subarray(1), Math.exp)

  /** How often each of the 5 tokens is drawn over evenly spaced points. */
  function shares(options: { temperature?: number; topK?: number; topP?: number }): number[] {
    const sampler = new Sampler(5, options)
    const counts = new Array<number>(5).fill(0)
    for (let i = 0; i < 10_000; i++) counts[sampler.pick(logits, 1, (i + 0.5) / 10_000)]++
    return counts.map((count) => count / 10_000)
  }

  function expectShares(actual: number[], expected: number[]): void {
    const total = expected.reduce((sum, value) => sum + value, 0)
    for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value / total, 3)
  }

  test('softmax, temperature', () => {
    expectShares(shares({}), odds)
    expectShares(shares({ temperature: 2 }), odds.map(Math.sqrt))
    expect(shares({ temperature: 0 })).toEqual([0, 1, 0, 0, 0])
    expectShares(shares({ topK: 5, topP: 1 }), odds)
  })

  test('top-k and top-p', () => {
    expectShares(shares({ topK: 2 }), [0, odds[1], odds[2], 0, 0])
    expectShares(shares({ topK: 1 }), [0, 1, 0, 0, 0])
    // Shares are 0.086, 0.636, 0.234, 0.032, 0.012.
    expectShares(shares({ topP: 0.6 }), [0, 1, 0, 0, 0])
    expectShares(shares({ topP: 0.8 }), [0, odds[1], odds[2], 0, 0])
    expectShares(shares({ topP: 0.9 }), [odds[0], odds[1], odds[2], 0, 0])
    expectShares(shares({ topK: 2, topP: 0.7 }), [0, 1, 0, 0, 0])
    expectShares(shares({ topK: 3, topP: 0.99 }), [odds[0], odds[1], odds[2], 0, 0])
  })

  test('a token of no probability is never drawn', () => {
    const sampler = new Sampler(4, {})
    const some = Float32Array.from([-Infinity, 0, -Infinity, -Infinity])
    for (const uniform of [0, 0.5, 1 - 2 ** -53]) expect(sampler.pick(some, 0, uniform)).toBe(1)
  })

  test('large vocabularies', () => {
    const random = new Random(3)
    const size = 100_000
    const large = Float32Array.from({ length: size }, () => random.normal() * 3)
    const sorted = large.toSorted().reverse()
    const least = new Set(
      Array.from({ length: 500 }, () => new Sampler(size, { topK: 50 }).pick(large, 0, random.uniform())),
    )
    expect(Math.min(...Array.from(least, (id) => large[id]))).toBeGreaterThanOrEqual(sorted[49])
  })

  test('impossible options are refused', () => {
    for (const options of [
      { temperature: -1 },
      { temperature: Number.NaN },
      { topK: 0 },
      { topP: 0 },
      { topP: 2 },
    ]) {
      expect(() => new Sampler(5, options)).toThrow(RangeError)
    }
  })
})

describe('sequences', () => {
  let folder: string
  let model: LlamaModel

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'quench-llama-sample-'))
    await writeTinyGguf(join(folder, 'tiny.gguf'))
    model = await LlamaModel.load(join(folder, 'tiny.gguf'))
  })
  afterAll(async () => {
    model.dispose()
    await rm(folder, { recursive: true })
  })

  test('the seed decides', async () => {
    const options = { sequences: 6, length: 40, seed: 5, topK: 20 }
    const first = await sampleSequences(model, options)
    expect(await sampleSequences(model, options)).toEqual(first)
    expect(await sampleSequences(model, { ...options, seed: 6 })).not.toEqual(first)
    expect(first.map((tokens) => tokens.length)).toEqual(new Array(6).fill(40))
    expect(first.every((tokens) => tokens[0] === model.bos)).toBe(true)
    expect(first[0]).not.toEqual(first[1])
    expect(first.flatMap((tokens) => [...tokens]).every((token) => token >= 0 && token < 271)).toBe(true)
  })

  test('written together or one by one, a sequence is the same up to rounding', async () => {
    const options = { sequences: 4, length: 24, seed: 1, temperature: 0.7 }
    const together = await sampleSequences(model, options)
    const alone = await sampleSequences(model, { ...options, parallel: 1 })
    // A sum in another order may change a draw now and then, and all that follows it.
    const same = together.filter(
      (tokens, i) => tokens.subarray(0, 8).join() === alone[i].subarray(0, 8).join(),
    )
    expect(same.length).toBeGreaterThanOrEqual(3)
  })

  test('prompts of different lengths are continued', async () => {
    const prompts = ['the', 'in the end of', 'a'].map((text) => model.tokenize(text, { addSpecial: true }))
    const progress: number[] = []
    const written = await sampleSequences(model, {
      sequences: 5,
      length: 20,
      seed: 1,
      prompts,
      onProgress: (tokens) => progress.push(tokens),
    })
    for (const [i, tokens] of written.entries()) {
      const prompt = prompts[i % 3]
      expect(tokens.subarray(0, prompt.length)).toEqual(prompt)
    }
    expect(progress.at(-1)).toBe(100)
    expect(progress).toEqual(progress.toSorted((a, b) => a - b))
  })

  test('those that cannot be finished in time are given up, and the others are whole', async () => {
    const options = { sequences: 32, length: 60, seed: 3, temperature: 0.7 }
    const all = await sampleSequences(model, options)
    const some = await sampleSequences(model, { ...options, until: performance.now() })
    expect(some).toHaveLength(8)
    expect(some.every((tokens) => tokens.length === 60)).toBe(true)
    expect(some.map((tokens) => tokens.subarray(0, 4))).toEqual(
      all.slice(0, 8).map((tokens) => tokens.subarray(0, 4)),
    )
    expect(await sampleSequences(model, { ...options, until: performance.now() + 1e6 })).toEqual(all)
  })

  test('temperature 0 takes the likeliest, and the work can be stopped', async () => {
    const [a, b] = await sampleSequences(model, { sequences: 2, length: 16, seed: 1, temperature: 0 })
    expect(a).toEqual(b)
    const stopped = sampleSequences(model, {
      sequences: 2,
      length: 500,
      seed: 1,
      signal: AbortSignal.timeout(20),
    })
    await expect(stopped).rejects.toThrow(/timeout/)
  })
})
