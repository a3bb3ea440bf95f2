/** Sums of products over batches: as if all tokens had been multiplied at once. */
import { afterAll, expect, test } from 'vitest'
import type { DeviceBuffer } from '../../src/backends/backend.js'
import { joined } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { Products } from '../../src/backends/products.js'
import { MomentSums, targetMoments, tokensAtOnce } from '../../src/blockwise/hessians.js'
import { teacherInputs } from '../../src/blockwise/samples.js'
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

test("with the teacher's inputs give the moments of its products", async () => {
  const random = new Random(3)
  const [tokens, weights] = [48, gaussian(random, out * n)]
  const [x, z] = [gaussian(random, tokens * n), gaussian(random, tokens * n)]
  const y = await plain.multiply(z, weights, [tokens, n, out], { transB: true })
  const sums = new MomentSums(products)
  await sums.add({ inputs: device(x), targets: new Map([[teacherInputs, device(z)]]) }, tokens)
  const moments = await sums.finish()
  const found = await targetMoments(products, moments, 'w', weights)
  const expected = await plain.multiply(y, x, [out, tokens, n], { transA: true })
  expect(found).toHaveLength(expected.length)
  for (const [i, value] of expected.entries()) expect(Math.abs(found[i] - value)).toBeLessThan(1e-3)
  const none = { inputs: moments.inputs, targets: new Map() }
  await expect(targetMoments(products, none, 'w', weights)).rejects.toThrow('w has no target')
})

test('of no tokens are an error', async () => {
  await expect(new MomentSums(products).finish()).rejects.toThrow(RangeError)
})
