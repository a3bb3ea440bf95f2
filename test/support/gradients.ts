/** The gradients of a network against differences of its loss. */
import { expect } from 'vitest'
import { onDevice } from '../../src/engine/device-weights.js'
import type { Target } from '../../src/engine/head.js'
import type { Network } from '../../src/engine/network.js'
import { Random } from '../../src/random.js'
import { gaussian } from './gaussian.js'
import { zerosLike } from './tiny-network.js'

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((s, x, i) => s + x * b[i], 0)
const norm = (a: Float32Array): number => Math.sqrt(dot(a, a))

/**
 * The derivative along a direction is measured with four values of the loss, whose error is of fourth order. The
 * directions are the gradient itself plus noise of its size: a part of the gradient that is missing, or too much, shows.
 */
export async function expectGradients(
  network: Network,
  weights: ReadonlyMap<string, Float32Array>,
  tokens: Int32Array,
  target: Target,
  h = 0.02,
): Promise<void> {
  const { backend } = network
  const own = onDevice(backend, weights)
  const gradients = zerosLike(backend, weights)
  await network.forward(tokens, own)
  const loss = await network.backward(tokens, own, target, gradients)
  expect(await network.loss(own, target)).toBeCloseTo(loss, 3)

  const random = new Random(5)
  for (const [name, sum] of gradients) {
    const gradient = await backend.download(sum.values)
    const values = own.get(name)!
    const before = (await backend.download(values)).slice()
    const noise = gaussian(random, values.length)
    const direction = gradient.map((g, i) => g / norm(gradient) + noise[i] / norm(noise))
    const lossAt = async (step: number): Promise<number> => {
      backend.write(
        values,
        before.map((x, i) => x + step * direction[i]),
      )
      await network.forward(tokens, own)
      return network.loss(own, target)
    }
    const near = ((await lossAt(h)) - (await lossAt(-h))) / (2 * h)
    const far = ((await lossAt(2 * h)) - (await lossAt(-2 * h))) / (4 * h)
    backend.write(values, before)
    const measured = (4 * near - far) / 3
    expect(Math.abs(dot(gradient, direction) - measured) / norm(gradient), name).toBeLessThan(5e-3)
  }
}
