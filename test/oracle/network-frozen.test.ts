/**
 * Frozen training: two runs of a tiny model, whose logits, loss, gradients and ten losses must stay what they were when
 * they were written down in test/fixtures/training.json. `UPDATE_FROZEN=1 npx vitest run test/oracle/network-frozen.test.ts`
 * writes them anew: only for a change that is meant to change the arithmetic.
 *
 *   crossEntropy   all tensors are trained as they are, on the next tokens
 *   distillation   matrices of the blocks are trained in Q4_0, Q4_K and Q6_K, norms as they are, on another model
 */
import { readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { copyOf } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import type { Target } from '../../src/engine/head.js'
import { Network } from '../../src/engine/network.js'
import { formatNamed } from '../../src/formats/table.js'
import { quantizeRows } from '../../src/llama/index.js'
import type { DecoderConfig } from '../../src/models/decoder.js'
import { llama } from '../../src/models/llama.js'
import { modelTensors } from '../../src/models/weights.js'
import { optimize } from '../../src/optimizer/optimizer.js'
import { Optimizer, Parameter } from '../../src/optimizer/parameter.js'
import { Random } from '../../src/random.js'
import { device, deviceWeights, host } from '../support/device.js'
import { randomTokens } from '../support/logits.js'
import { tinyConfig, tinyWeights } from '../support/tiny-network.js'

/** Norm of an array, its product with a fixed random direction of norm about 1, and its first entries. */
interface Summary {
  norm: number
  along: number
  first: number[]
}
interface Frozen {
  logits: Summary
  loss: number
  gradients: Record<string, Summary>
  losses: number[]
}

const fixture = new URL('../fixtures/training.json', import.meta.url)
const batch = { windows: 2, length: 16 }

function summary(values: Float32Array): Summary {
  const random = new Random(values.length)
  let [squares, along] = [0, 0]
  for (const x of values) {
    squares += x * x
    along += (x * random.normal()) / Math.sqrt(values.length)
  }
  return { norm: Math.sqrt(squares), along, first: Array.from(values.subarray(0, 4)) }
}

/** Ten steps; logits, loss and gradients are those of the first. */
async function train(
  config: DecoderConfig,
  weights: ReadonlyMap<string, Float32Array>,
  parameters: readonly Parameter[],
  target: (network: Network, tokens: Int32Array) => Promise<Target>,
): Promise<Frozen> {
  const network = new Network(cpu, llama, config, batch)
  const optimizer = new Optimizer()
  for (const p of parameters) await p.round()
  const student = new Map([...deviceWeights(weights), ...parameters.map((p) => [p.name, p.weights] as const)])
  const gradients = new Map(parameters.map((p) => [p.name, p.gradient]))
  const tokens = randomTokens(network.tokens, config.vocabulary, 1)
  const goal = await target(network, tokens)
  const losses: number[] = []
  let first: Omit<Frozen, 'losses'> | undefined
  for (let number = 1; number <= 10; number++) {
    await network.forward(tokens, student)
    const logits = first ? undefined : await network.logits(student)
    const loss = (await network.backward(tokens, student, goal, gradients)) / network.tokens
    losses.push(loss)
    if (logits) {
      const summaries = parameters.map((p) => [p.name, summary(host(p.gradient.values))] as const)
      first = { logits: summary(logits), loss, gradients: Object.fromEntries(summaries) }
    }
    const rates = { weightRate: 0.02, scaleRate: 0.005 }
    await optimize(parameters, optimizer, rates, { tokens: network.tokens, clip: 1, number })
  }
  await network.dispose()
  await optimizer.dispose()
  return { ...first!, losses }
}

function crossEntropy(): Promise<Frozen> {
  const config = tinyConfig({ width: 64, feedForward: 96, headWidth: 16, vocabulary: 128 })
  const weights = tinyWeights(config, 2)
  const shapes = modelTensors(llama, config)
  const parameters = Array.from(weights, ([name, values]) =>
    Parameter.plain(cpu, name, shapes.get(name)!, values.slice()),
  )
  const next = randomTokens(batch.windows * batch.length, config.vocabulary, 3)
  next[15] = -1
  return train(config, weights, parameters, async () => ({ kind: 'tokens', tokens: next }))
}

function distillation(): Promise<Frozen> {
  const config = tinyConfig({ vocabulary: 128, tied: true })
  const weights = tinyWeights(config, 4)
  const random = new Random(5)
  const teacher = new Map(
    Array.from(weights, ([name, x]) => [name, device(x.map((v) => v * (1 + 0.4 * random.normal())))]),
  )
  const parameters: Parameter[] = []
  for (const [name, shape] of modelTensors(llama, config)) {
    const values = weights.get(name)!
    if (!name.startsWith('blk.')) continue
    if (shape.length === 1) parameters.push(Parameter.plain(cpu, name, shape, values.slice()))
    else {
      const format = formatNamed(
        name.includes('ffn_down') ? 'Q6_K' : name.includes('attn') ? 'Q4_0' : 'Q4_K',
      )!
      // The matrices are narrower than a block of 256: here blocks run on over the ends of rows.
      const codes = format.decode(quantizeRows(format.type, values, 256))
      parameters.push(Parameter.quantized(cpu, name, shape, format, values, codes))
    }
  }
  return train(config, weights, parameters, async (network, tokens) => ({
    kind: 'teacher',
    weights: teacher,
    hidden: copyOf(cpu, await network.forward(tokens, teacher)),
  }))
}

/** Equal up to the order of f32 sums: entries are compared with the norm, the rest with itself. */
function expectSame(actual: Summary, frozen: Summary, name: string): void {
  expect(Math.abs(actual.norm / frozen.norm - 1), `${name}, norm`).toBeLessThan(1e-4)
  expect(Math.abs(actual.along - frozen.along) / frozen.norm, `${name}, along`).toBeLessThan(1e-4)
  for (const [i, x] of frozen.first.entries())
    expect(Math.abs(actual.first[i] - x) / frozen.norm, `${name}, entry ${i}`).toBeLessThan(1e-5)
}

test.each([
  ['crossEntropy', crossEntropy],
  ['distillation', distillation],
] as const)('%s', async (name, run) => {
  const frozen: Record<string, Frozen> = JSON.parse(await readFile(fixture, 'utf8').catch(() => '{}'))
  const actual = await run()
  if (process.env.UPDATE_FROZEN) {
    await writeFile(fixture, `${JSON.stringify({ ...frozen, [name]: actual }, undefined, 2)}\n`)
    return
  }
  const expected = frozen[name]
  expect(actual.losses[9]).toBeLessThan(actual.losses[0])
  expectSame(actual.logits, expected.logits, 'logits')
  expect(actual.loss / expected.loss).toBeCloseTo(1, 5)
  expect(Object.keys(actual.gradients)).toEqual(Object.keys(expected.gradients))
  for (const [tensor, gradient] of Object.entries(expected.gradients))
    expectSame(actual.gradients[tensor], gradient, tensor)
  for (const [i, loss] of expected.losses.entries())
    expect(Math.abs(actual.losses[i] / loss - 1), `loss ${i}`).toBeLessThan(1e-4)
})
