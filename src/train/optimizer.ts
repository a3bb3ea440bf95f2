/** One optimizer step over all parameters: clip the gradient by its norm, then Adam on every latent. */
import type { Parameter, ParameterPrograms } from './parameter.js'

export interface StepRates {
  readonly weightRate: number
  readonly scaleRate: number
}

/**
 * Updates the latents of all parameters from their gradients, which are sums over `tokens` tokens, rounds the new
 * weights, and clears the gradients. Returns the norm of the mean gradient before clipping.
 * @param clip largest norm of the mean gradient over all weights together
 * @param number 1 for the first step
 */
export async function optimize(
  parameters: readonly Parameter[],
  programs: ParameterPrograms,
  rates: StepRates,
  { tokens, clip, number }: { tokens: number; clip: number; number: number },
): Promise<number> {
  const norm = gradientNorm(parameters) / tokens
  const gradientScale = Math.min(1, clip / (norm || 1)) / tokens
  for (const parameter of parameters) {
    await programs.update(parameter, { ...rates, gradientScale, number })
    await programs.round(parameter)
    parameter.gradient.fill(0)
  }
  return norm
}

function gradientNorm(parameters: readonly Parameter[]): number {
  let squares = 0
  for (const { gradient } of parameters) for (let i = 0; i < gradient.length; i++) squares += gradient[i] ** 2
  return Math.sqrt(squares)
}
