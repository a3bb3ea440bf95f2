/**
 * The start of a training run: block by block, the matrices are rounded anew so that their errors make up for each other
 * (gptq.ts), on scales that ggml finds with the inputs as importance. The inputs have passed through the blocks rounded
 * before.
 * It takes seconds and wins a good part of what training would have to find.
 */
import { quantizeRowsAsync } from '../llama/index.js'
import { type RoundingOrder, roundCompensated, roundingOrder } from '../quantize/gptq.js'
import type { Flow, Network, Weights } from './network.js'
import type { Parameter, ParameterPrograms } from './parameter.js'

/**
 * Moves the latents of the blocks' matrices to error-compensated weights.
 * @param student the weights that the forward pass uses, which the parameters round into
 * @param teacher the full-precision weights
 * @param batches tokens of whole batches to take the second moments from
 */
export async function compensate(
  network: Network,
  parameters: readonly Parameter[],
  programs: ParameterPrograms,
  student: Weights,
  teacher: Weights,
  batches: readonly Int32Array[],
): Promise<void> {
  const { layers } = network.config
  const streams: Flow[] = []
  for (const tokens of batches) streams.push(await network.embed(tokens, student))
  for (let layer = 0; layer < layers; layer++) {
    const moments = new Map<string, Float32Array>()
    for (const stream of streams)
      for (const [name, sums] of await network.inputMoments(layer, stream, student)) {
        const total = moments.get(name)
        if (total) for (let i = 0; i < total.length; i++) total[i] += sums[i]
        else moments.set(name, sums)
      }
    const orders = new Map<string, RoundingOrder>()
    for (const parameter of parameters) {
      const input = network.inputOf(layer, parameter.name)
      const sums = input === undefined ? undefined : moments.get(input)
      if (input === undefined || !sums || !parameter.format) continue
      const order = orders.get(input) ?? roundingOrder(sums, parameter.shape[1])
      orders.set(input, order)
      const weights = teacher.get(parameter.name) as Float32Array
      await roundAnew(parameter, programs, weights, sums, order)
    }
    for (const stream of streams) stream.x = await network.block(layer, stream, student)
  }
}

/** Starts a parameter anew: scales by ggml's own search weighted with H_ii, codes by error-compensated rounding. */
async function roundAnew(
  parameter: Parameter,
  programs: ParameterPrograms,
  weights: Float32Array,
  moments: Float32Array,
  order: RoundingOrder,
): Promise<void> {
  const { format, shape } = parameter
  if (!format?.grid || !format.latents) return
  const width = shape[1]
  const importance = Float32Array.from({ length: width }, (_, i) => moments[i * width + i])
  const codes = format.decode(await quantizeRowsAsync(format.type, weights, width, importance))
  const rounded = roundCompensated(weights, format.grid(codes), order)
  parameter.restart(format.latents(rounded.weights, { ...codes, q: rounded.q }))
  await programs.round(parameter)
}
