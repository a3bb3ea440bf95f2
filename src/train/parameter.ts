/**
 * What training changes: one `Parameter` for each tensor, with its latent values, its rounded weights, its gradient and
 * Adam's moments. Rounding and the gradient through the rounding are programs, compiled once for each format and shape.
 */
import type { Codes, Format, Latent, Latents } from '../formats/format.js'
import { grad, input, reshape, type Shape, type Tensor } from '../graph/index.js'
import { Program } from '../runtime/program.js'
import { adam, type Moments } from './adam.js'
import { type MomentStore, momentsInMemory, trainedLatents } from './moment-store.js'

/** Learning rates of one step, and what multiplies every gradient (for clipping and averaging). */
export interface Step {
  readonly weightRate: number
  readonly scaleRate: number
  readonly gradientScale: number
  /** 1 for the first step: Adam's bias correction. */
  readonly number: number
}

export class Parameter {
  /** Codes that stay while scales train, one for each weight; set by `ParameterPrograms.fix`. */
  codes: Int8Array | undefined
  /** The weights that the forward pass uses: the latents rounded by the format. Shape (out, in), row by row. */
  readonly weights: Float32Array
  private ownGradient: Float32Array | undefined
  private ownMoments: Record<string, Moments> | undefined

  constructor(
    readonly name: string,
    readonly shape: Shape,
    /** Absent: a tensor that is stored as it is trained, such as a norm. */
    readonly format: Format | undefined,
    readonly latents: Latents,
  ) {
    const size = shape.reduce((n, d) => n * d, 1)
    this.weights = new Float32Array(size)
  }

  /** Gradient of the loss with respect to `weights`, made when it is first asked for. */
  get gradient(): Float32Array {
    this.ownGradient ??= new Float32Array(this.weights.length)
    return this.ownGradient
  }

  /** Adam's moments of every latent that trains, made when they are first asked for. */
  get moments(): Record<string, Moments> {
    this.ownMoments ??= Object.fromEntries(
      trainedLatents(this).map(({ key }) => {
        const { length } = this.latents[key].values
        return [key, { first: new Float32Array(length), second: new Float32Array(length) }]
      }),
    )
    return this.ownMoments
  }

  /** A parameter that starts from the codes of a quantizer. */
  static quantized(
    name: string,
    shape: Shape,
    format: Format,
    weights: Float32Array,
    codes: Codes,
  ): Parameter {
    if (!format.latents) throw new RangeError(`${format.name} has nothing to learn`)
    return new Parameter(name, shape, format, format.latents(weights, codes))
  }

  /** A parameter that is not rounded. `unit` is the natural size of its values, their root mean square by default. */
  static plain(name: string, shape: Shape, values: Float32Array, unit = rootMeanSquare(values)): Parameter {
    const latent: Latent = {
      kind: shape.length === 1 ? 'scale' : 'weight',
      values,
      unit: Float32Array.of(unit),
    }
    return new Parameter(name, shape, undefined, { w: latent })
  }

  /** Takes other latents of the same format in place of its own. Not after the first step: the moments stay. */
  restart(latents: Latents): void {
    for (const [key, { values, unit }] of Object.entries(latents)) {
      this.latents[key].values.set(values)
      this.latents[key].unit.set(unit)
    }
  }
}

const rootMeanSquare = (x: Float32Array): number =>
  Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length) || 1

/** The programs of parameters, shared by those of the same format and shape. */
export class ParameterPrograms {
  private readonly programs = new Map<string, Promise<Program>>()
  private readonly arrays = new Map<string, Record<string, Float32Array>>()
  /** Where the moments are. */
  moments: MomentStore = momentsInMemory

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
    return {
      weights,
      codes: Object.fromEntries(Object.entries(rest).map(([k, v]) => [k.slice('code '.length), v])),
    }
  }

  /** One step of Adam on the latents, from `gradient`. */
  async update(p: Parameter, step: Step): Promise<void> {
    const gradients = p.format ? await this.latentGradients(p) : { w: p.gradient }
    for (const trained of trainedLatents(p)) {
      const { kind, values, unit } = p.latents[trained.key]
      const gradient = gradients[trained.key]
      const rate = kind === 'weight' ? step.weightRate : step.scaleRate
      const run = values.length / unit.length
      await this.moments.update(trained, (moments, [start, end]) => {
        const units = unit.subarray(Math.floor(start / run), Math.ceil(end / run))
        adam(values.subarray(start, end), gradient.subarray(start, end), moments, units, { ...step, rate })
      })
    }
    if (p.codes) await this.centre(p)
  }

  /** From here on only the scales of a quantized parameter train: its codes stay as they are. */
  async fix(p: Parameter): Promise<void> {
    if (!p.format) return
    p.codes = Int8Array.from((await this.codes(p)).codes.q)
    await this.centre(p)
  }

  /** Moves the weights' latents to the middle of the cells of the codes that stay, where scales have moved. */
  private async centre(p: Parameter): Promise<void> {
    const { codes } = await this.codes(p)
    codes.q.set(p.codes as Int8Array)
    p.latents.w.values.set(p.format?.dequantize(codes) as Float32Array)
  }

  /** The gradient with respect to every latent, from that with respect to the rounded weights. */
  private async latentGradients(p: Parameter): Promise<Record<string, Float32Array>> {
    const program = await this.program(p, 'gradient', () => {
      const latents = latentInputs(p)
      const keys = Object.keys(latents)
      const gradient = input(p.shape)
      const wrt = keys.map((key) => latents[key])
      const gradients = grad(rounded(p, latents).weights, wrt, gradient)
      return {
        inputs: { ...latents, gradient },
        outputs: Object.fromEntries(keys.map((key, k) => [`d ${key}`, gradients[k]])),
      }
    })
    const into = this.scratch(p)
    await program.run({ ...latentValues(p), gradient: p.gradient }, into)
    return Object.fromEntries(Object.entries(into).map(([key, values]) => [key.slice('d '.length), values]))
  }

  /** Arrays for the gradients of a parameter's latents, shared by the parameters of one format and shape. */
  private scratch(p: Parameter): Record<string, Float32Array> {
    const key = `${p.format?.name} ${p.shape.join('x')}`
    let arrays = this.arrays.get(key)
    if (!arrays) {
      arrays = Object.fromEntries(
        Object.entries(p.latents).map(([name, { values }]) => [`d ${name}`, new Float32Array(values.length)]),
      )
      this.arrays.set(key, arrays)
    }
    return arrays
  }

  async dispose(): Promise<void> {
    await this.moments.close?.()
    for (const program of this.programs.values()) await (await program).dispose()
    this.programs.clear()
  }

  private program(
    p: Parameter,
    purpose: string,
    graph: () => Parameters<typeof Program.compile>[0],
  ): Promise<Program> {
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

function rounded(
  p: Parameter,
  latents: Record<string, Tensor>,
): { weights: Tensor; codes: Record<string, Tensor> } {
  if (!p.format?.fakeQuantize) return { weights: latents.w, codes: {} }
  const { weights, codes } = p.format.fakeQuantize(latents)
  return { weights: reshape(weights, p.shape), codes }
}

function prefixed<T>(prefix: string, record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [prefix + key, value]))
}
