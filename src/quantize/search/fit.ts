/** The kernel of the search for scales, fit.wat, and its memory: one for each thread. */
import { instantiate } from '../../formats/wasm.js'
import { fitWasm } from './fit-wasm.js'

/** Most weights of a unit, scales at once, and levels of a table with the middles between them. */
const [mostWeights, mostScales, mostLevels] = [256, 256, 512]

interface Fits {
  readonly memory: { readonly buffer: ArrayBuffer }
  /**
   * Writes the errors and sums of the weights from `from` to `to`, exclusive, for the first `count` scales and offsets, an even number.
   * @param last index of the last entry of the table; -1 for all integers from `lo` to `hi`
   */
  fit(count: number, from: number, to: number, lo: number, hi: number, last: number): void
}

export const kernel = instantiate<Fits>(fitWasm)

const place = (at: number, length: number): Float64Array => new Float64Array(kernel.memory.buffer, at, length)

/** The kernel's memory. */
export const inFit = {
  w: place(0, mostWeights),
  /** Importances. */
  h: place(2048, mostWeights),
  scales: place(4096, mostScales),
  offsets: place(6144, mostScales),
  // For each scale and offset: the error, and sums of h q^2, h q and h q (w - offset).
  errors: place(8192, mostScales),
  qq: place(10240, mostScales),
  q1: place(12288, mostScales),
  qx: place(14336, mostScales),
  /** Levels by twice their position, rounded down, from twice the least on. */
  table: place(16384, mostLevels),
}
