/** The whole network: its gradients against differences, slices of the head, targets. */
import { describe, expect, test } from 'vitest'
import { copyOf, type DeviceWeights } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { GradientSum } from '../../src/engine/gradients.js'
import type { Target } from '../../src/engine/head.js'
import { Network } from '../../src/engine/network.js'
import type { DecoderConfig } from '../../src/models/decoder.js'
import { llama } from '../../src/models/llama.js'
import { deviceWeights, host } from '../support/device.js'
import { expectGradients } from '../support/gradients.js'
import { randomTokens } from '../support/logits.js'
import { tinyConfig, tinyWeights, zerosLike } from '../support/tiny-network.js'

const batch = { windows: 2, length: 12 }
const dot = (a: Float32Array, b: Float32Array): number => a.reduce((s, x, i) => s + x * b[i], 0)
const norm = (a: Float32Array): number => Math.sqrt(dot(a, a))
const weightsOf = (config: DecoderConfig, seed: number) => deviceWeights(tinyWeights(config, seed))

async function teacherTarget(network: Network, tokens: Int32Array, weights: DeviceWeights): Promise<Target> {
  return { kind: 'teacher', weights, hidden: copyOf(cpu, await network.forward(tokens, weights)) }
}

async function topTarget(
  network: Network,
  tokens: Int32Array,
  weights: DeviceWeights,
  k: number,
): Promise<Target> {
  await network.forward(tokens, weights)
  return { kind: 'top', k, ...(await network.head.top(weights, k)) }
}

const configs: Record<string, DecoderConfig> = {
  'separate output': tinyConfig(),
  'tied output, biases': tinyConfig({
    tied: true,
    biases: new Set([
      ...['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate'].map((n) => `blk.0.${n}.bias`),
      ...['ffn_up', 'ffn_down'].map((n) => `blk.1.${n}.bias`),
    ]),
  }),
  'one head of keys, wide heads': tinyConfig({ kvHeads: 1, headWidth: 16 }),
}

describe.each(Object.entries(configs))('gradients of every tensor: %s', (_, config) => {
  test.each(['tokens', 'teacher', 'top'] as const)('%s', async (kind) => {
    const network = new Network(cpu, llama, config, batch)
    const weights = tinyWeights(config, 1)
    const tokens = randomTokens(network.tokens, config.vocabulary, 2)
    const target: Target =
      kind === 'tokens'
        ? { kind, tokens: randomTokens(network.tokens, config.vocabulary, 3) }
        : kind === 'teacher'
          ? await teacherTarget(network, tokens, weightsOf(config, 4))
          : await topTarget(network, tokens, weightsOf(config, 4), 5)
    await expectGradients(network, weights, tokens, target)
    await network.dispose()
  })
})

test.each(Object.entries(configs))(
  'sums that were cleared count as zeros whatever they hold: %s',
  async (_, config) => {
    const network = new Network(cpu, llama, config, batch)
    const weights = weightsOf(config, 1)
    const tokens = randomTokens(network.tokens, config.vocabulary, 2)
    const target = await teacherTarget(network, tokens, weightsOf(config, 4))
    const [zeros, used] = [zerosLike(cpu, weights), zerosLike(cpu, weights)]
    // Zeros that count as such, and what was left lying.
    for (const sum of zeros.values()) expect(host(sum.values).every((value) => value === 0)).toBe(true)
    for (const sum of used.values()) {
      cpu.fill(sum.values, Number.NaN)
      sum.clear()
    }
    // Twice: the second pass is added to the first.
    for (const gradients of [zeros, used, zeros, used]) {
      await network.forward(tokens, weights)
      await network.backward(tokens, weights, target, gradients)
    }
    expect(used).toEqual(zeros)
    await network.dispose()
  },
)

describe("the teacher's top-k tokens", () => {
  test('are those with the largest logits, with what is left for the others', async () => {
    const config = tinyConfig({ vocabulary: 40_000, layers: 1 })
    const network = new Network(cpu, llama, config, batch)
    const weights = weightsOf(config, 1)
    await network.forward(randomTokens(network.tokens, config.vocabulary, 2), weights)
    const logits = await network.logits(weights)
    const { ids, logProbabilities, rest } = await network.head.top(weights, 3)
    for (let t = 0; t < network.tokens; t++) {
      const row = logits.subarray(t * config.vocabulary, (t + 1) * config.vocabulary)
      const total = Math.log(row.reduce((s, z) => s + Math.exp(z), 0))
      const sorted = [...row].sort((a, b) => b - a)
      let left = 1
      for (let k = 0; k < 3; k++) {
        expect(row[ids[3 * t + k]]).toBe(sorted[k])
        expect(logProbabilities[3 * t + k]).toBeCloseTo(sorted[k] - total, 4)
        left -= Math.exp(sorted[k] - total)
      }
      expect(rest[t]).toBeCloseTo(left, 5)
    }
    await network.dispose()
  })

  test('bound the divergence from below, the more tokens the closer', async () => {
    const config = tinyConfig()
    const network = new Network(cpu, llama, config, batch)
    const [weights, other] = [1, 4].map((seed) => weightsOf(config, seed))
    const tokens = randomTokens(network.tokens, config.vocabulary, 2)
    const loss = async (target: Target): Promise<number> => {
      await network.forward(tokens, weights)
      return network.loss(weights, target)
    }
    const exact = await loss(await teacherTarget(network, tokens, other))
    let before = 0
    for (const k of [1, 4, 16, config.vocabulary - 1]) {
      const bound = await loss(await topTarget(network, tokens, other, k))
      expect(bound).toBeGreaterThan(before)
      expect(bound).toBeLessThan(exact * (1 + 1e-4))
      before = bound
    }
    expect(before / exact).toBeCloseTo(1, 3)
    await network.dispose()
  })
})

describe('the head', () => {
  test('in slices gives the losses, logits and gradients of its parts', async () => {
    // 65,536 tokens of vocabulary make slices of 16 positions.
    const config = tinyConfig({
      vocabulary: 65536,
      width: 8,
      heads: 1,
      kvHeads: 1,
      layers: 1,
      feedForward: 8,
    })
    const weights = weightsOf(config, 6)
    const tokens = randomTokens(48, config.vocabulary, 7)
    const next = randomTokens(48, config.vocabulary, 8)
    const whole = new Network(cpu, llama, config, { windows: 3, length: 16 })
    const part = new Network(cpu, llama, config, { windows: 1, length: 16 })

    const gradients = zerosLike(cpu, weights)
    await whole.forward(tokens, weights)
    const logits = await whole.logits(weights)
    const loss = await whole.backward(tokens, weights, { kind: 'tokens', tokens: next }, gradients)

    const sums = zerosLike(cpu, weights)
    let total = 0
    for (let i = 0; i < 3; i++) {
      const window = tokens.subarray(16 * i, 16 * (i + 1))
      await part.forward(window, weights)
      const own = await part.logits(weights)
      const size = own.length
      const difference = own.reduce((most, x, k) => Math.max(most, Math.abs(x - logits[size * i + k])), 0)
      expect(difference).toBeLessThan(1e-5)
      const target: Target = { kind: 'tokens', tokens: next.subarray(16 * i, 16 * (i + 1)) }
      total += await part.backward(window, weights, target, sums)
    }
    expect(loss / total).toBeCloseTo(1, 5)
    for (const [name, own] of sums) {
      const [sum, gradient] = [host(own.values), host(gradients.get(name)!.values)]
      expect(norm(gradient.map((g, i) => g - sum[i])) / norm(sum), name).toBeLessThan(1e-5)
    }
    await whole.dispose()
    await part.dispose()
  })
})

describe('targets', () => {
  const config = tinyConfig()
  const weights = weightsOf(config, 9)
  const tokens = randomTokens(24, config.vocabulary, 10)

  test('cross-entropy is what the logits say, and positions of -1 do not count', async () => {
    const network = new Network(cpu, llama, config, batch)
    await network.forward(tokens, weights)
    const logits = await network.logits(weights)
    const next = randomTokens(24, config.vocabulary, 11)
    next[3] = -1
    next[23] = -1
    let expected = 0
    for (const [i, token] of next.entries()) {
      if (token < 0) continue
      const row = logits.subarray(i * config.vocabulary, (i + 1) * config.vocabulary)
      expected += Math.log(row.reduce((s, x) => s + Math.exp(x), 0)) - row[token]
    }
    expect(await network.loss(weights, { kind: 'tokens', tokens: next })).toBeCloseTo(expected, 3)
    await network.dispose()
  })

  test('the divergence from itself is zero, from another model what the logits say', async () => {
    const network = new Network(cpu, llama, config, batch)
    const self = await teacherTarget(network, tokens, weights)
    const own = await network.logits(weights)
    expect(Math.abs(await network.loss(weights, self))).toBeLessThan(1e-5)

    const others = weightsOf(config, 12)
    const target = await teacherTarget(network, tokens, others)
    const theirs = await network.logits(others)
    let expected = 0
    for (let start = 0; start < own.length; start += config.vocabulary) {
      const logTotal = (x: Float32Array): number =>
        Math.log(x.subarray(start, start + config.vocabulary).reduce((s, v) => s + Math.exp(v), 0))
      const [ours, other] = [logTotal(own), logTotal(theirs)]
      for (let i = start; i < start + config.vocabulary; i++) {
        const p = theirs[i] - other
        expected += Math.exp(p) * (p - (own[i] - ours))
      }
    }
    await network.forward(tokens, weights)
    expect(await network.loss(weights, target)).toBeCloseTo(expected, 3)
    await network.dispose()
  })

  test('gradients are added up, and only for tensors that are asked for', async () => {
    const network = new Network(cpu, llama, config, batch)
    const target: Target = { kind: 'tokens', tokens }
    const all = zerosLike(cpu, weights)
    const some = new Map([['blk.1.attn_v.weight', new GradientSum(cpu, 16 * 32)]])
    await network.forward(tokens, weights)
    await network.backward(tokens, weights, target, all)
    await network.backward(tokens, weights, target, some)
    await network.backward(tokens, weights, target, some)
    const [twice, once] = [some, all].map((sums) => host(sums.get('blk.1.attn_v.weight')!.values))
    expect(twice).toEqual(once.map((g) => 2 * g))
    await network.dispose()
  })
})
