/**
 * The kernel of training, kernel.wat, and its memory. Pieces of up to `pieceSize` values are copied there and back: they fit in a
 * processor's cache, while the weights of a model do not fit in the 4 GB limit of such a memory.
 */
import { instantiate } from '../../formats/wasm.js'
import { kernelWasm } from './kernel-wasm.js'

/** Most values of a piece. */
export const pieceSize = 4096

/** Groups are runs of 4 * vectors values. */
interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer }
  /** Rounds `values` to `weights` and `codes`: to the integers from `lo` to `hi`, or to `steps` + 1 `levels`. */
  round(groups: number, vectors: number, lo: number, hi: number, steps: number): void
  /** Turns the `gradient` of the weights into that of the values; writes `products` and `sums` of the groups. */
  gradient(groups: number, vectors: number, lo: number, hi: number, steps: number): void
  /** One step of `values` and moments along `gradient`. Each of `units` units is for 4 * vectors values; with `own`, for one. */
  adam(units: number, vectors: number, own: number, gradientScale: number, rate: number): void
  /** The sum of the squares of 4 * vectors values of `gradient`. */
  squares(vectors: number): number
}
export const kernel = instantiate<Kernel>(kernelWasm)

const place = (index: number): Float32Array =>
  new Float32Array(kernel.memory.buffer, 4 * pieceSize * index, pieceSize)

/** The kernel's memory. */
export const inKernel = {
  values: place(0),
  gradient: place(1),
  weights: place(1),
  first: place(2),
  codes: place(2),
  second: place(3),
  unit: place(4),
  scales: place(5),
  mins: place(6),
  products: place(7),
  sums: place(8),
  /** The two clipping limits; then, for each level but the lowest, the middle between it and the one below, and their distance. */
  levels: place(9),
}

/** The sum of the squares of values, in f64. */
export function sumOfSquares(values: Float32Array): number {
  let sum = 0
  for (let start = 0; start < values.length; start += pieceSize) {
    const piece = values.subarray(start, start + pieceSize)
    inKernel.gradient.set(piece)
    const whole = Math.ceil(piece.length / 4)
    inKernel.gradient.fill(0, piece.length, 4 * whole)
    sum += kernel.squares(whole)
  }
  return sum
}
