/** Sums of products over batches: as if all tokens had been multiplied at once. */
import { afterAll, expect, test } from 'vitest'
import type { DeviceBuffer } from '../../src/backends/backend.js'
import { joined } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { Products } from '../../src/backends/products.js'
import { factorize, shrink } from '../../src/blockwise/factor.js'
import { MomentSums, tokensAtOnce } from '../../src/blockwise/hessians.js'
import { teacherInputs } from '../../src/blockwise/samples.js'
import { stepsOf } from '../../src/blockwise/solve.js'
import { Random } from '../../src/random.js'
import { device, host } from '../support/device.js'
import { gaussian } from '../support/gaussian.js'
import { products as plain } from '../support/products.js'

const [n, out] = [20, 6]
const products = new Products(cpu)
afterAll(() => products.dispose())

test.each([
  ['one batch', [48]],
  ['fewer tokens than are multiplied at once', [48, 48, 32]],
  ['as many', [tokensAtOnce / 2, tokensAtOnce / 2]],
  ['more, and some left over', [tokensAtOnce + 8, 512, 1024, 640, 24]],
])('of %s are those of all tokens', async (_, batches) => {
  const random = new Random(1)
  const sums = new MomentSums(products)
  const [xs, ys]: [DeviceBuffer[], DeviceBuffer[]] = [[], []]
  for (const tokens of batches) {
    const [x, y] = [n, out].map((width) => device(gaussian(random, tokens * width)))
    xs.push(x)
    ys.push(y)
    await sums.add({ inputs: x, targets: new Map([['y', y]]) }, tokens)
  }
  const { inputs, targets } = await sums.finish()
  const [x, y] = [xs, ys].map((parts) => host(joined(cpu, parts)))
  const tokens = x.length / n
  const near = (found: Float32Array | undefined, wanted: Float32Array): void => {
    expect(found).toHaveLength(wanted.length)
    for (const [i, value] of wanted.entries())
      expect(Math.abs((found?.[i] ?? Number.NaN) - value)).toBeLessThan(1e-5 * tokens)
  }
  near(inputs, await plain.multiply(x, x, [n, tokens, n], { transA: true }))
  near(targets.get('y'), await plain.multiply(y, x, [out, tokens, n], { transA: true }))
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) expect(inputs[i * n + j]).toBe(inputs[j * n + i])
})

test('of more inputs than a panel has are whole', async () => {
  const [wide, tokens] = [1500, 3]
  const x = gaussian(new Random(2), tokens * wide)
  const sums = new MomentSums(products)
  await sums.add({ inputs: device(x), targets: new Map() }, tokens)
  const { inputs, targets } = await sums.finish()
  const whole = await products.multiply(x, x, [wide, tokens, wide], { transA: true })
  expect(inputs.findIndex((value, i) => value !== whole[i])).toBe(-1)
  expect(targets.size).toBe(0)
})

test("with the teacher's inputs give the least-squares step that those of its products give", async () => {
  const random = new Random(3)
  const [tokens, weights] = [48, gaussian(random, out * n)]
  const [x, z] = [gaussian(random, tokens * n), gaussian(random, tokens * n)]
  const y = await plain.multiply(z, weights, [tokens, n, out], { transB: true })
  const steps: Float32Array[] = []
  for (const [name, target] of [
    ['w', y],
    [teacherInputs, z],
  ] as const) {
    const sums = new MomentSums(products)
    await sums.add({ inputs: device(x), targets: new Map([[name, device(target)]]) }, tokens)
    const moments = await sums.finish()
    const factor = await factorize(shrink(moments.inputs, 0.5), products)
    const stepOf = await stepsOf(moments, factor, products)
    steps.push(await stepOf('w', weights))
    if (name === 'w') await expect(stepOf('v', weights)).rejects.toThrow('v has no target')
  }
  expect(steps[1]).toHaveLength(steps[0].length)
  for (const [i, value] of steps[0].entries()) expect(Math.abs(steps[1][i] - value)).toBeLessThan(1e-4)
})

test.each([
  [true, true],
  [true, false],
  [false, false],
])(
  'errors of rows are those of plain loops, with a target: %s, in a metric: %s',
  async (hasTarget, hasMetric) => {
    const random = new Random(4)
    const rows = 30
    const [x, w, step] = [rows * n, out * n, out * n].map((size) => gaussian(random, size))
    const half = gaussian(random, out * out)
    const options = {
      ...(hasTarget && { target: gaussian(random, rows * out) }),
      ...(hasMetric && { metric: half.map((a, i) => a + half[(i % out) * out + Math.floor(i / out)]) }),
    }
    const near = (found: Float32Array, wanted: Float32Array): void => {
      expect(found).toHaveLength(rows)
      for (const [i, value] of wanted.entries()) expect(Math.abs(found[i] - value)).toBeLessThan(2e-3)
    }
    near(
      await products.errors(x, w, [rows, n, out], options),
      await plain.errors(x, w, [rows, n, out], options),
    )
    const found = await products.stepErrors(x, w, step, [rows, n, out], options)
    const wanted = await plain.stepErrors(x, w, step, [rows, n, out], options)
    for (const name of ['before', 'both', 'own'] as const) near(found[name], wanted[name])
  },
)

test('of no tokens are an error', async () => {
  await expect(new MomentSums(products).finish()).rejects.toThrow(RangeError)
})
