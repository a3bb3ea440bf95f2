/**
 * The parameters of training: one `Parameter` for each tensor, with its latents, rounded weights, gradient and Adam's moments.
 * A step backpropagates the gradient through the rounding, updates the latents and rounds them.
 */
import { setImmediate } from 'node:timers/promises'
import {
  type AdamStep,
  type Backend,
  type Buffers,
  type DeviceBuffer,
  type DeviceGrid,
  type DeviceLatent,
  type DeviceLatents,
  gridPart,
  type Moments,
} from '../backends/backend.js'
import { GradientSum } from '../engine/gradients.js'
import type { Codes, Format, GridLayout, Latent, Latents } from '../formats/format.js'
import { layoutOf } from '../formats/grids.js'
import { codeLatents } from '../formats/learned.js'
import type { Shape } from '../graph/index.js'
import { type MomentStore, momentsInMemory, type Piece, piecesOf, trainedLatents } from './adam-state.js'

/** Learning rates of one step, and the factor of every gradient (for clipping and averaging). */
export interface Step {
  readonly weightRate: number
  readonly scaleRate: number
  readonly gradientScale: number
  /** Number of the step, from 1, for Adam's bias correction. */
  readonly number: number
}

export class Parameter {
  /** Whether the codes are frozen and only scales train. The codes then replace the weights' latents. */
  private frozen: boolean
  /** The weights that the forward pass uses: the latents rounded by the format. Shape (out, in), row by row. */
  readonly weights: DeviceBuffer
  readonly latents: DeviceLatents
  private ownGradient: GradientSum | undefined
  private ownMoments: Record<string, Moments> | undefined

  constructor(
    readonly backend: Backend,
    readonly name: string,
    readonly shape: Shape,
    /** Absent for a tensor that is stored unrounded, such as a norm. */
    readonly format: Format | undefined,
    latents: Latents,
  ) {
    this.frozen = !this.codesTrain
    this.weights = backend.zeros(shape.reduce((n, d) => n * d, 1))
    this.latents = Object.fromEntries(
      Object.entries(latents).map(([key, { kind, values, unit }]) => [
        key,
        { kind, values: backend.upload(values), unit: backend.upload(unit) },
      ]),
    )
  }

  /** The grid that the weights are rounded to. */
  get layout(): GridLayout | undefined {
    return this.format && layoutOf(this.format)
  }

  /** Whether codes can train: those of a codebook cannot. */
  private get codesTrain(): boolean {
    return this.format?.vectors === undefined
  }

  get codesStay(): boolean {
    return this.frozen
  }

  /** Lets codes train again that `Optimizer.freezeCodes` has frozen. The latents have to be set anew. */
  release(): void {
    this.frozen = !this.codesTrain
  }

  /** Gradient of the loss with respect to `weights`, allocated on first use. */
  get gradient(): GradientSum {
    this.ownGradient ??= new GradientSum(this.backend, this.weights.length)
    return this.ownGradient
  }

  /** Adam's moments of every trained latent, allocated on first use. */
  get moments(): Record<string, Moments> {
    this.ownMoments ??= Object.fromEntries(
      trainedLatents(this).map(({ key }) => {
        const { length } = this.latents[key].values
        return [key, { first: this.backend.zeros(length), second: this.backend.zeros(length) }]
      }),
    )
    return this.ownMoments
  }

  /** A parameter that starts from the codes of a quantizer. */
  static quantized(
    backend: Backend,
    name: string,
    shape: Shape,
    format: Format,
    weights: Float32Array,
    codes: Codes,
  ): Parameter {
    return new Parameter(backend, name, shape, format, latentsOf(format, weights, codes))
  }

  /** A parameter that is not rounded. `unit` is the natural size of its values, their root mean square by default. */
  static plain(
    backend: Backend,
    name: string,
    shape: Shape,
    values: Float32Array,
    unit = rootMeanSquare(values),
  ): Parameter {
    const latent: Latent = {
      kind: shape.length === 1 ? 'scale' : 'weight',
      values,
      unit: Float32Array.of(unit),
    }
    return new Parameter(backend, name, shape, undefined, { w: latent })
  }

  /** Computes `weights` from the latents. */
  async round(): Promise<void> {
    const { backend, latents, layout, weights } = this
    const { values, unit } = latents.w
    if (!layout) {
      backend.copy(weights, values)
      return
    }
    const { grid } = backend.latentGrid(layout, latents)
    const most = backend.queues ? values.length : turn
    for (const [start, end] of piecesOf(values.length, values.length / unit.length, most)) {
      if (start > 0) await setImmediate()
      const part = gridPart(backend, grid, start / layout.groupSize, end / layout.groupSize)
      const [from, to] = [backend.view(values, start, end), backend.view(weights, start, end)]
      if (this.codesStay) backend.weightsOf(from, part, to)
      else backend.roundToGrid(from, part, to)
    }
  }

  /** The codes that the latents round to. @throws RangeError for a parameter that is not rounded */
  async codes(): Promise<Codes> {
    const { backend, layout, latents, weights } = this
    if (!layout) throw new RangeError(`${this.name} is not quantized`)
    const { stored, grid } = backend.latentGrid(layout, latents)
    let q = latents.w.values
    if (!this.codesStay) {
      q = backend.zeros(weights.length)
      backend.roundToGrid(latents.w.values, grid, backend.zeros(weights.length), q)
    }
    const codes: Codes = {}
    for (const [field, values] of Object.entries({ ...stored, q }))
      codes[field] = await backend.download(values)
    return codes
  }

  /** Replaces the weights' latents by the codes, which then stay. */
  async freeze(): Promise<void> {
    this.backend.write(this.latents.w.values, (await this.codes()).q)
    this.frozen = true
  }

  /** Sets the codes, and the values within their cells from which training starts. */
  async take(codes: Codes, optimum: Float32Array): Promise<void> {
    if (!this.format) throw new RangeError(`${this.name} is not quantized`)
    this.setLatents(latentsOf(this.format, optimum, codes))
    await this.round()
  }

  /** Copies the latents of another parameter of the same tensor and format. The moments are not reset. */
  takeLatents({ latents }: Parameter): void {
    for (const [key, { values, unit }] of Object.entries(latents)) {
      this.backend.copy(this.latents[key].values, values)
      this.backend.copy(this.latents[key].unit, unit)
    }
  }

  private setLatents(latents: Latents): void {
    for (const [key, { values, unit }] of Object.entries(latents)) {
      this.backend.write(this.latents[key].values, values)
      this.backend.write(this.latents[key].unit, unit)
    }
  }
}

/** Latents from which training starts; of a codebook the codes themselves and the scales. */
function latentsOf(format: Format, weights: Float32Array, codes: Codes): Latents {
  if (format.vectors) return codeLatents(format.vectors, codes)
  if (!format.latents) throw new RangeError(`${format.name} has nothing to learn`)
  return format.latents(weights, codes)
}

const rootMeanSquare = (x: Float32Array): number =>
  Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length) || 1

/** Values processed before yielding to the event loop. */
const turn = 1 << 22

/** Updates parameters and freezes codes. */
export class Optimizer {
  /** The store of Adam's moments. */
  moments: MomentStore = momentsInMemory

  /** One step of Adam on the latents, from `gradient`. */
  async update(p: Parameter, step: Step): Promise<void> {
    const gradients: Buffers = p.layout
      ? await this.throughRounding(p, p.layout, step)
      : { w: p.gradient.values }
    for (const trained of trainedLatents(p)) {
      const latent = p.latents[trained.key]
      const gradient = gradients[trained.key]
      if (!gradient) continue // updated together with the rounding
      const { values } = latent
      await this.moments.update(trained, (moments, [start, end]) => {
        const { backend } = p
        backend.adam(
          backend.view(values, start, end),
          backend.view(gradient, start, end),
          moments,
          unitsOf(backend, latent, start, end),
          stepOf(latent, step),
        )
      })
    }
  }

  /** Updates the weights' latents, unless the codes are frozen, and returns the gradients of the scales' latents. */
  private async throughRounding(p: Parameter, layout: GridLayout, step: Step): Promise<Buffers> {
    const { backend } = p
    const { w } = p.latents
    const { stored, grid } = backend.latentGrid(layout, p.latents)
    const groups = grid.scales.length
    const sums = { products: backend.zeros(groups), gradients: backend.zeros(groups) }
    const trainedGrid = p.codesStay ? gridOfCodes(backend, layout, groups) : grid
    const train = ([start, end]: Piece, moments?: Moments): void => {
      const [from, to] = [start / layout.groupSize, end / layout.groupSize]
      backend.trainOnGrid(
        backend.view(w.values, start, end),
        backend.view(p.gradient.values, start, end),
        gridPart(backend, trainedGrid, from, to),
        {
          products: backend.view(sums.products, from, to),
          gradients: backend.view(sums.gradients, from, to),
        },
        moments && { ...stepOf(w, step), moments, unit: unitsOf(backend, w, start, end) },
      )
    }
    if (p.codesStay) train([0, w.values.length])
    else await this.moments.update({ p, key: 'w' }, (moments, piece) => train(piece, moments))
    return backend.scaleGradients(layout, p.latents, stored, sums)
  }

  /** Freezes the codes of a quantized parameter, so that only its scales train. */
  async freezeCodes(p: Parameter): Promise<void> {
    if (!p.layout || p.codesStay) return
    await p.freeze()
  }

  async dispose(): Promise<void> {
    await this.moments.close?.()
  }
}

/** A grid with scales of one, on which codes round to themselves. */
function gridOfCodes(backend: Backend, { levels }: GridLayout, groups: number): DeviceGrid {
  const scales = backend.zeros(groups)
  backend.fill(scales, 1)
  return { scales, levels }
}

/** The units of values start to end of a latent. */
function unitsOf(backend: Backend, { values, unit }: DeviceLatent, start: number, end: number): DeviceBuffer {
  const run = values.length / unit.length
  return backend.view(unit, Math.floor(start / run), Math.ceil(end / run))
}

const stepOf = (
  { kind }: DeviceLatent,
  { weightRate, scaleRate, gradientScale, number }: Step,
): AdamStep => ({
  rate: kind === 'weight' ? weightRate : scaleRate,
  gradientScale,
  number,
})
