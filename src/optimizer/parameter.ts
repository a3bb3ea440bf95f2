/**
 * What training changes: one `Parameter` for each tensor, with its latent values, its rounded weights, its gradient and
 * Adam's moments. A step takes the gradient back through the rounding, moves the latents and rounds them (rounding.ts).
 */
import { setImmediate } from 'node:timers/promises'
import { opened } from '../engine/gradients.js'
import type { Codes, Format, GridLayout, Latent, Latents } from '../formats/format.js'
import type { Shape } from '../graph/index.js'
import { type AdamStep, adam, type Moments } from './adam.js'
import { type MomentStore, momentsInMemory, type Piece, piecesOf, trainedLatents } from './adam-state.js'
import { gridPart, latentGrid, roundToGrid, scaleGradients, trainOnGrid } from './rounding.js'

/** Learning rates of one step, and what multiplies every gradient (for clipping and averaging). */
export interface Step {
  readonly weightRate: number
  readonly scaleRate: number
  readonly gradientScale: number
  /** 1 for the first step: Adam's bias correction. */
  readonly number: number
}

export class Parameter {
  /** Codes that stay while scales train, one for each weight; set by `Optimizer.freezeCodes`. */
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

  /** The grid that the weights are rounded to. */
  get layout(): GridLayout | undefined {
    return this.format?.grid
  }

  /** Gradient of the loss with respect to `weights`, made when it is first asked for. */
  get gradient(): Float32Array {
    this.ownGradient ??= new Float32Array(this.weights.length)
    return opened(this.ownGradient)
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
  setLatents(latents: Latents): void {
    for (const [key, { values, unit }] of Object.entries(latents)) {
      this.latents[key].values.set(values)
      this.latents[key].unit.set(unit)
    }
  }
}

const rootMeanSquare = (x: Float32Array): number =>
  Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length) || 1

/** Values after which other work has its turn. */
const turn = 1 << 22

/** What is done to parameters. */
export class Optimizer {
  /** Where the moments are. */
  moments: MomentStore = momentsInMemory

  /** Computes `weights` from the latents. */
  async round(p: Parameter): Promise<void> {
    const { latents, layout, weights } = p
    const { values, unit } = latents.w
    if (!layout) {
      weights.set(values)
      return
    }
    const { grid } = latentGrid(layout, latents)
    for (const [start, end] of piecesOf(values.length, values.length / unit.length, turn)) {
      if (start > 0) await setImmediate()
      const part = gridPart(grid, start / layout.groupSize, end / layout.groupSize)
      roundToGrid(values.subarray(start, end), part, weights.subarray(start, end))
    }
  }

  /** The codes of a quantized parameter and the weights that the same rounding gives. */
  codes(p: Parameter): { weights: Float32Array; codes: Codes } {
    const { layout, latents } = p
    if (!layout) throw new RangeError(`${p.name} is not quantized`)
    const { stored, grid } = latentGrid(layout, latents)
    const [weights, q] = [new Float32Array(p.weights.length), new Float32Array(p.weights.length)]
    roundToGrid(latents.w.values, grid, weights, q)
    return { weights, codes: { ...stored, q } }
  }

  /** One step of Adam on the latents, from `gradient`. */
  async update(p: Parameter, step: Step): Promise<void> {
    const gradients = p.layout ? await this.throughRounding(p, p.layout, step) : { w: p.gradient }
    for (const trained of trainedLatents(p)) {
      const latent = p.latents[trained.key]
      const gradient = gradients[trained.key]
      if (!gradient) continue // has moved already
      const { values } = latent
      await this.moments.update(trained, (moments, [start, end]) => {
        const units = unitsOf(latent, start, end)
        adam(values.subarray(start, end), gradient.subarray(start, end), moments, units, stepOf(latent, step))
      })
    }
    if (p.codes) this.recenterLatents(p)
  }

  /** Moves the weights' latents, unless the codes stay, and gives the gradients of the scales' latents. */
  private async throughRounding(
    p: Parameter,
    layout: GridLayout,
    step: Step,
  ): Promise<Record<string, Float32Array>> {
    const { w } = p.latents
    const { stored, grid } = latentGrid(layout, p.latents)
    const groups = grid.scales.length
    const sums = { products: new Float32Array(groups), gradients: new Float32Array(groups) }
    const train = ([start, end]: Piece, moments?: Moments): void => {
      const [from, to] = [start / layout.groupSize, end / layout.groupSize]
      trainOnGrid(
        w.values.subarray(start, end),
        p.gradient.subarray(start, end),
        gridPart(grid, from, to),
        { products: sums.products.subarray(from, to), gradients: sums.gradients.subarray(from, to) },
        moments && { ...stepOf(w, step), moments, unit: unitsOf(w, start, end) },
      )
    }
    if (p.codes) train([0, w.values.length])
    else await this.moments.update({ p, key: 'w' }, (moments, piece) => train(piece, moments))
    return scaleGradients(layout, p.latents, stored, sums)
  }

  /** From here on only the scales of a quantized parameter train: its codes stay as they are. */
  freezeCodes(p: Parameter): void {
    if (!p.format) return
    p.codes = toBytes(this.codes(p).codes.q)
    this.recenterLatents(p)
  }

  /** Moves the weights' latents to the middle of the cells of the codes that stay, where scales have moved. */
  private recenterLatents(p: Parameter): void {
    const { codes } = this.codes(p)
    codes.q.set(p.codes as Int8Array)
    p.latents.w.values.set(p.format?.dequantize(codes) as Float32Array)
  }

  async dispose(): Promise<void> {
    await this.moments.close?.()
  }
}

/** Codes as bytes. @throws RangeError for a code that is none */
export function toBytes(codes: Float32Array): Int8Array {
  const bytes = Int8Array.from(codes)
  const other = bytes.findIndex((byte, i) => byte !== codes[i])
  if (other >= 0) throw new RangeError(`the code ${codes[other]} does not fit into 8 bits`)
  return bytes
}

/** The units of values start to end of a latent. */
function unitsOf({ values, unit }: Latent, start: number, end: number): Float32Array {
  const run = values.length / unit.length
  return unit.subarray(Math.floor(start / run), Math.ceil(end / run))
}

const stepOf = ({ kind }: Latent, { weightRate, scaleRate, gradientScale, number }: Step): AdamStep => ({
  rate: kind === 'weight' ? weightRate : scaleRate,
  gradientScale,
  number,
})
