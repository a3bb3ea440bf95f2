/** One optimizer step over all parameters: clip the gradient by its norm, then Adam on every latent. */

import type { Optimizer, Parameter } from './parameter.js'

export interface StepRates {
  readonly weightRate: number
  readonly scaleRate: number
}

/**
 * Updates the latents of all parameters from their gradients, which are sums over `tokens` tokens, rounds the new
 * weights, and clears the gradients. Returns the norm of the mean gradient before clipping.
 * @param clip largest norm of the mean gradient over all weights together
 * @param number of the step, from 1
 */
export async function optimize(
  parameters: readonly Parameter[],
  optimizer: Optimizer,
  rates: StepRates,
  { tokens, clip, number }: { tokens: number; clip: number; number: number },
): Promise<number> {
  const norm = (await gradientNorm(parameters)) / tokens
  const gradientScale = Math.min(1, clip / (norm || 1)) / tokens
  for (const parameter of parameters) {
    await optimizer.update(parameter, { ...rates, gradientScale, number })
    await parameter.round()
    parameter.gradient.clear()
  }
  return norm
}

async function gradientNorm(parameters: readonly Parameter[]): Promise<number> {
  const [first] = parameters
  return first
    ? Math.sqrt(await first.backend.sumOfSquares(parameters.map(({ gradient }) => gradient.values)))
    : 0
}
