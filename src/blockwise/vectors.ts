/**
 * Coordinate descent on the codes of a codebook: a vector of four or eight codes is set to the entry and signs that minimize the error with
 * all other numbers of the row fixed. In units of the scale, with o the unrounded optimum of the vector and H its part of the metric, the
 * error of a vector c is (c - o)' H (c - o). Entries are ranked by the diagonal of H; the exact error decides among the eight best of them
 * and the present codes, so it never grows. Work on rows is a kernel (vectors.wat).
 */
import type { Codebook } from '../formats/format.js'
import { instantiate } from '../formats/wasm.js'
import { kernel as descent, inDescent, panelColumns } from './descent.js'
import { vectorsWasm } from './vectors-wasm.js'

/** Bounds of columns are multiples of eight. */
interface Kernel {
  /** Begins a panel, whose H, entries and inverses are in memory. @param even 1 if of eight signs an even number is negative */
  enter(width: number, size: number, count: number, even: number): void
  /** Sets the codes of the columns from `from` to `to`, exclusive, which share a scale. */
  improve(from: number, to: number, scale: number): void
}

const kernel = instantiate<Kernel>(vectorsWasm, { descent })

const mostEntries = 1024
const largestVector = 8
const { buffer } = descent.memory
/** The entries, four side by side: (entry / 4, value, entry % 4). */
const inEntries = new Float32Array(buffer, 273_408, mostEntries * largestVector)
/** The inverse of every vector's part of H, negative: (vectors, size, size). */
const inInverses = new Float32Array(buffer, 437_248, panelColumns * largestVector)

/** Loads a codebook for a panel of `width` columns, whose part of H is in the memory of descent.ts. */
export function enterVectors({ size, entries, evenSigns }: Codebook, width: number): void {
  for (let entry = 0, at = 0; at < entries.length; entry++)
    for (let i = 0; i < size; i++, at++) inEntries[((entry >> 2) * size + i) * 4 + (entry & 3)] = entries[at]
  for (let column = 0; column < width; column += size) invert(column, size, width)
  kernel.enter(width, size, entries.length / size, evenSigns ? 1 : 0)
}

/** Sets the codes of the columns from `from` to `to`, exclusive, which are multiples of eight and share a scale. */
export const improveVectors = (from: number, to: number, scale: number): void =>
  kernel.improve(from, to, scale)

/** Inverts the part of H of the vector that begins at a column, by sweeping its rows one after another. */
function invert(column: number, size: number, width: number): void {
  const a = new Float64Array(size * size)
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) a[i * size + j] = inDescent.block[(column + i) * width + column + j]
  for (let k = 0; k < size; k++) {
    // H is damped; rounding may still take a little from a tiny pivot.
    const pivot = Math.max(a[k * size + k], 1e-9 * inDescent.diagonal[column + k])
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++)
        if (i !== k && j !== k) a[i * size + j] -= (a[i * size + k] * a[k * size + j]) / pivot
    for (let i = 0; i < size; i++) {
      a[i * size + k] /= pivot
      a[k * size + i] /= pivot
    }
    a[k * size + k] = -1 / pivot
  }
  inInverses.set(a, column * size)
}
