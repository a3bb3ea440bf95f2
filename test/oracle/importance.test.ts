/** The importance matrix: against a forward pass in plain code, against what the graphs of the blocks multiply, and in files that libllama quantizes. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { importanceOf } from '../../src/blockwise/importance.js'
import { blockGraph } from '../../src/engine/block-graphs.js'
import { onDevice } from '../../src/engine/device-weights.js'
import { matrixGroups } from '../../src/engine/linear-layers.js'
import { Network } from '../../src/engine/network.js'
import { openGguf } from '../../src/gguf/index.js'
import { quantizeModel, quantizeRowsAsync } from '../../src/llama/index.js'
import type { DecoderConfig } from '../../src/models/decoder.js'
import { llama } from '../../src/models/llama.js'
import { openSource } from '../../src/student/source.js'
import { deviceWeights, hosts } from '../support/device.js'
import { randomTokens } from '../support/logits.js'
import { run } from '../support/run.js'
import { tinyVocabulary, writeTinyGguf } from '../support/tiny-gguf.js'
import { writeTinyVariant } from '../support/tiny-models.js'
import { tinyConfig, tinyWeights } from '../support/tiny-network.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-importance-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** A Llama, token by token. Calls `read` with what every matrix is multiplied with. */
function plainForward(
  config: DecoderConfig,
  weights: ReadonlyMap<string, Float32Array>,
  tokens: Int32Array,
  read: (name: string, x: readonly number[]) => void,
): void {
  const { width, normEpsilon } = config
  const get = (name: string): Float32Array => weights.get(`${name}.weight`)!
  const multiply = (name: string, x: readonly number[]): number[] => {
    read(`${name}.weight`, x)
    const matrix = get(name)
    return Array.from({ length: matrix.length / x.length }, (_, row) =>
      x.reduce((total, value, i) => total + value * matrix[row * x.length + i], 0),
    )
  }
  const norm = (name: string, x: readonly number[]): number[] => {
    const scale = 1 / Math.sqrt(x.reduce((total, value) => total + value * value, 0) / x.length + normEpsilon)
    return x.map((value, i) => value * scale * get(name)[i])
  }
  const stream = Array.from(tokens, (token) => [
    ...get('token_embd').subarray(token * width, (token + 1) * width),
  ])
  const addTo = (x: number[], y: readonly number[]): void => {
    for (const [i, value] of y.entries()) x[i] += value
  }
  for (const [layer, { attention }] of config.blocks.entries()) {
    const at = (name: string): string => `blk.${layer}.${name}`
    const { heads, kvHeads, headWidth, rope } = attention
    const rotate = (x: number[], position: number): number[] =>
      x.map((value, i) => {
        const angle = position * rope.frequencies[(i % headWidth) >> 1]
        return value * Math.cos(angle) + (i % 2 ? x[i - 1] : -x[i + 1]) * Math.sin(angle)
      })
    const normed = stream.map((x) => norm(at('attn_norm'), x))
    const q = normed.map((x, t) => rotate(multiply(at('attn_q'), x), t))
    const k = normed.map((x, t) => rotate(multiply(at('attn_k'), x), t))
    const v = normed.map((x) => multiply(at('attn_v'), x))
    for (const [t, x] of stream.entries()) {
      const attended: number[] = []
      for (let head = 0; head < heads; head++) {
        const from = Math.floor(head / (heads / kvHeads)) * headWidth
        const part = (y: readonly number[], start: number): number[] => y.slice(start, start + headWidth)
        const powers = k.slice(0, t + 1).map((key) => {
          const products = part(key, from).map((value, i) => value * q[t][head * headWidth + i])
          return Math.exp(products.reduce((a, b) => a + b) / Math.sqrt(headWidth))
        })
        const all = powers.reduce((a, b) => a + b)
        for (let i = 0; i < headWidth; i++)
          attended.push(powers.reduce((total, p, s) => total + (p / all) * v[s][from + i], 0))
      }
      addTo(x, multiply(at('attn_output'), attended))
      const middle = norm(at('ffn_norm'), x)
      const gate = multiply(at('ffn_gate'), middle)
      const gated = multiply(at('ffn_up'), middle).map((u, i) => (u * gate[i]) / (1 + Math.exp(-gate[i])))
      addTo(x, multiply(at('ffn_down'), gated))
    }
  }
  for (const x of stream) read('output.weight', norm('output_norm', x))
}

test('is the mean square of what a forward pass in plain code multiplies', async () => {
  const config = tinyConfig()
  const weights = tinyWeights(config, 1)
  const network = new Network(cpu, llama, config, { windows: 2, length: 12 })
  const batches = [2, 3, 4].map((seed) => randomTokens(network.tokens, config.vocabulary, seed))
  const squares = new Map<string, { sums: number[]; count: number }>()
  for (const batch of batches)
    for (const start of [0, 12])
      plainForward(config, weights, batch.subarray(start, start + 12), (name, x) => {
        const { sums, count } = squares.get(name) ?? { sums: x.map(() => 0), count: 0 }
        squares.set(name, { sums: sums.map((sum, i) => sum + x[i] ** 2), count: count + 1 })
      })
  const calls: [number, number][] = []
  const found = await importanceOf(network, batches, deviceWeights(weights), (...call) => calls.push(call))
  await network.dispose()
  expect([...found.keys()].toSorted()).toEqual([...squares.keys()].toSorted())
  for (const [name, { sums, count }] of squares)
    for (const [i, sum] of sums.entries()) expect(found.get(name)![i] / (sum / count), name).toBeCloseTo(1, 4)
  expect(calls).toEqual([1, 2, 3, 4, 5, 6].map((done) => [done, 6]))
})

describe('a model file', () => {
  test('whose weights are read when they are needed, with layers that read of others', async () => {
    const path = join(folder, 'gemma4.gguf')
    const gemma4 = { slides: [true, false, true, false], perLayer: 8, shared: 2 }
    await writeTinyVariant(path, { architecture: 'gemma4', layers: 4, tied: true, headWidth: 32, gemma4 })
    const source = await openSource(path)
    source.weights.most = 0
    const weights = onDevice(cpu, source.weights)
    const network = new Network(cpu, source.architecture, source.config, { windows: 2, length: 32 })
    const batches = [2, 3].map((seed) => randomTokens(network.tokens, tinyVocabulary, seed))
    const found = await importanceOf(network, batches, weights)
    const apart = await importanceOf(network, batches, weights, undefined, 1)
    expect(apart).toEqual(found)

    const names: string[] = ['token_embd.weight']
    const batchesOfActivations = await Promise.all(batches.map((tokens) => network.embed(tokens, weights)))
    for (let layer = 0; layer < source.config.layers; layer++) {
      const { inputs, results, w } = blockGraph(network, layer)
      for (const group of matrixGroups(results, w)) {
        const matrices = group.map(({ name }) => name)
        const n = group[0].input.shape.at(-1) as number
        const sums = new Array<number>(n).fill(0)
        for (const activations of batchesOfActivations) {
          const values = hosts(network.blockValues(layer, activations, weights))
          const { read } = await run(inputs, { read: group[0].input }, values)
          for (const [i, value] of read.entries()) sums[i % n] += value ** 2
        }
        for (const name of matrices) {
          const own = found.get(`blk.${layer}.${name}`)!
          for (const [i, sum] of sums.entries())
            expect(own[i], name).toBeCloseTo(sum / (2 * network.tokens), 4)
          names.push(`blk.${layer}.${name}`)
        }
      }
      for (const activations of batchesOfActivations)
        activations.x = await network.block(layer, activations, weights)
    }
    expect([...found.keys()].toSorted()).toEqual(names.toSorted())
    await network.dispose()
    await source.gguf.close()
  })

  test.each(['Q2_K', 'IQ3_S'])('is quantized to %s by libllama as by the rows of ggml', async (type) => {
    const path = join(folder, 'llama.gguf')
    const output = join(folder, `${type}.gguf`)
    await writeTinyGguf(path, { width: 256, feedForward: 256 })
    const source = await openSource(path)
    const network = new Network(cpu, source.architecture, source.config, { windows: 2, length: 32 })
    const tokens = randomTokens(network.tokens, source.config.vocabulary, 2)
    const importance = await importanceOf(network, [tokens], onDevice(cpu, source.weights))
    await quantizeModel(path, output, { type, importance })
    const quantized = await openGguf(output)
    for (const [name, values] of importance) {
      const tensor = quantized.tensor(name)
      const weights = source.weights.get(name)!
      const bytes = await quantizeRowsAsync(tensor.type, weights, values.length, values)
      expect(Buffer.compare(bytes, await quantized.read(tensor)), name).toBe(0)
      const plain = await quantizeRowsAsync(tensor.type, weights, values.length)
      if (name.includes('attn_q')) expect(Buffer.compare(bytes, plain), name).not.toBe(0)
    }
    await network.dispose()
    await Promise.all([quantized.close(), source.gguf.close()])
  })
})
