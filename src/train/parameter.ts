/**
 * What training changes: one `Parameter` for each tensor, with its latent values, its rounded weights, its gradient and
 * Adam's moments. Rounding, the gradient through the rounding and the optimizer's step are programs, compiled once for
 * each format and shape.
 *
 * Adam (arXiv 1412.6980) in f32 with bias correction; the rate of a latent is in its natural unit (`Latent.unit`).
 */
import type { Codes, Format, Latent, Latents } from '../formats/format.js'
import { add, constant, div, grad, input, mul, reshape, type Shape, sqrt, sub, type Tensor } from '../graph/index.js'
import { Program } from '../runtime/program.js'

/** Learning rates of one step, and what multiplies every gradient (for clipping and averaging). */
export interface Step {
  readonly weightRate: number
  readonly scaleRate: number
  readonly gradientScale: number
  /** 1 for the first step: Adam's bias correction. */
  readonly number: number
}

const beta1 = 0.9
const beta2 = 0.95
const epsilon = 1e-15

export class Parameter {
  /** The weights that the forward pass uses: the latents rounded by the format. Shape (out, in), row by row. */
  readonly weights: Float32Array
  /** Gradient of the loss with respect to `weights`. */
  readonly gradient: Float32Array
  readonly moments: Record<string, { first: Float32Array; second: Float32Array }>

  constructor(
    readonly name: string,
    readonly shape: Shape,
    /** Absent: a tensor that is stored as it is trained, such as a norm. */
    readonly format: Format | undefined,
    readonly latents: Latents,
  ) {
    const size = shape.reduce((n, d) => n * d, 1)
    this.weights = new Float32Array(size)
    this.gradient = new Float32Array(size)
    this.moments = Object.fromEntries(
      Object.entries(latents).map(([key, { values }]) => [
        key,
        { first: new Float32Array(values.length), second: new Float32Array(values.length) },
      ]),
    )
  }

  /** A parameter that starts from the codes of a quantizer. */
  static quantized(name: string, shape: Shape, format: Format, weights: Float32Array, codes: Codes): Parameter {
    if (!format.latents) throw new RangeError(`${format.name} has nothing to learn`)
    return new Parameter(name, shape, format, format.latents(weights, codes))
  }

  /** A parameter that is not rounded. `unit` is the natural size of its values, their root mean square by default. */
  static plain(name: string, shape: Shape, values: Float32Array, unit = rootMeanSquare(values)): Parameter {
    const latent: Latent = { kind: shape.length === 1 ? 'scale' : 'weight', values, unit: Float32Array.of(unit) }
    return new Parameter(name, shape, undefined, { w: latent })
  }
}

const rootMeanSquare = (x: Float32Array): number => Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length) || 1

/** The programs of parameters, shared by those of the same format and shape. */
export class ParameterPrograms {
  private readonly programs = new Map<string, Promise<Program>>()

  /** Computes `weights` from the latents. */
  async round(p: Parameter): Promise<void> {
    if (!p.format) {
      p.weights.set(p.latents.w.values)
      return
    }
    const program = await this.program(p, 'round', () => {
      const latents = latentInputs(p)
      return { inputs: latents, outputs: { weights: rounded(p, latents).weights } }
    })
    await program.run(latentValues(p), { weights: p.weights })
  }

  /** The codes of a quantized parameter and the weights of the same run of the same graph. */
  async codes(p: Parameter): Promise<{ weights: Float32Array; codes: Codes }> {
    const program = await this.program(p, 'codes', () => {
      const latents = latentInputs(p)
      const { weights, codes } = rounded(p, latents)
      return { inputs: latents, outputs: { weights, ...prefixed('code ', codes) } }
    })
    const { weights, ...rest } = await program.run(latentValues(p))
    return { weights, codes: Object.fromEntries(Object.entries(rest).map(([k, v]) => [k.slice('code '.length), v])) }
  }

  /** One step of Adam on the latents, from `gradient`. */
  async update(p: Parameter, step: Step): Promise<void> {
    const program = await this.program(p, 'update', () => updateGraph(p))
    const values = latentValues(p)
    const into: Record<string, Float32Array> = {}
    const inputs: Record<string, Float32Array> = { ...values, gradient: p.gradient }
    for (const [key, latent] of Object.entries(p.latents)) {
      const { first, second } = p.moments[key]
      Object.assign(inputs, { [`first ${key}`]: first, [`second ${key}`]: second, [`unit ${key}`]: latent.unit })
      // In place: these outputs are written by elementwise ops that are the last to read the arrays they replace.
      Object.assign(into, { [`new ${key}`]: latent.values, [`new first ${key}`]: first, [`new second ${key}`]: second })
    }
    // The bias corrections 1 / (1 - beta^t) are folded into the rate and into epsilon.
    const secondCorrection = Math.sqrt(1 - beta2 ** step.number)
    const correction = secondCorrection / (1 - beta1 ** step.number)
    inputs.weightRate = Float32Array.of(step.weightRate * correction)
    inputs.scaleRate = Float32Array.of(step.scaleRate * correction)
    inputs.gradientScale = Float32Array.of(step.gradientScale)
    inputs.epsilon = Float32Array.of(epsilon * secondCorrection)
    await program.run(inputs, into)
  }

  async dispose(): Promise<void> {
    for (const program of this.programs.values()) await (await program).dispose()
    this.programs.clear()
  }

  private program(p: Parameter, purpose: string, graph: () => Parameters<typeof Program.compile>[0]): Promise<Program> {
    const key = `${purpose} ${p.format?.name} ${p.shape.join('x')}`
    const known = this.programs.get(key)
    if (known) return known
    const program = Program.compile(graph())
    this.programs.set(key, program)
    return program
  }
}

/** Latents as a graph takes them: (blocks, values per block), or the shape of the tensor if it is not rounded. */
function latentInputs(p: Parameter): Record<string, Tensor> {
  const { format } = p
  if (!format) return { w: input(p.shape) }
  const blocks = p.weights.length / format.blockSize
  return Object.fromEntries(
    Object.entries(p.latents).map(([key, { values }]) => [key, input([blocks, values.length / blocks])]),
  )
}

const latentValues = (p: Parameter): Record<string, Float32Array> =>
  Object.fromEntries(Object.entries(p.latents).map(([key, { values }]) => [key, values]))

function rounded(p: Parameter, latents: Record<string, Tensor>): { weights: Tensor; codes: Record<string, Tensor> } {
  if (!p.format?.fakeQuantize) return { weights: latents.w, codes: {} }
  const { weights, codes } = p.format.fakeQuantize(latents)
  return { weights: reshape(weights, p.shape), codes }
}

function updateGraph(p: Parameter): { inputs: Record<string, Tensor>; outputs: Record<string, Tensor> } {
  const latents = latentInputs(p)
  const keys = Object.keys(latents)
  const gradient = input(p.shape)
  const gradientScale = input([1])
  const rates = { weight: input([1]), scale: input([1]) }
  const eps = input([1])
  const { weights } = rounded(p, latents)
  const scaled = mul(gradient, gradientScale)
  const gradients = p.format ? grad(weights, keys.map((key) => latents[key]), scaled) : [scaled]

  const inputs: Record<string, Tensor> = {
    ...latents,
    gradient,
    gradientScale,
    weightRate: rates.weight,
    scaleRate: rates.scale,
    epsilon: eps,
  }
  const outputs: Record<string, Tensor> = {}
  keys.forEach((key, i) => {
    const latent = latents[key]
    const { kind, values, unit: units } = p.latents[key]
    const rows = (x: Tensor): Tensor => reshape(x, [units.length, values.length / units.length])
    const [first, second] = [input(latent.shape), input(latent.shape)]
    const unit = input([units.length])
    const perUnit = reshape(unit, [units.length, 1])
    // The gradient with respect to the value in its units, so that epsilon means the same everywhere.
    const g = reshape(mul(rows(gradients[i]), perUnit), latent.shape)
    const newFirst = add(mul(first, beta1), mul(g, 1 - beta1))
    const newSecond = add(mul(second, beta2), mul(mul(g, g), constant(1 - beta2)))
    const move = mul(div(newFirst, add(sqrt(newSecond), eps)), rates[kind])
    Object.assign(inputs, { [`first ${key}`]: first, [`second ${key}`]: second, [`unit ${key}`]: unit })
    Object.assign(outputs, {
      [`new ${key}`]: sub(latent, reshape(mul(rows(move), perUnit), latent.shape)),
      [`new first ${key}`]: newFirst,
      [`new second ${key}`]: newSecond,
    })
  })
  return { inputs, outputs }
}

function prefixed<T>(prefix: string, record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [prefix + key, value]))
}
