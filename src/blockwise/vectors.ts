/**
 * Coordinate descent on the codes of a codebook: a vector of four or eight codes is set to the entry and signs that minimize the error with
 * all other numbers of the row fixed. In units of the scale, with o the unrounded optimum of the vector and H its part of the metric, the
 * error of a vector c is (c - o)' H (c - o). Entries are ranked by the diagonal of H; the exact error decides among the eight best of them
 * and the present codes, so it never grows. Where the vectors of a group have to be of one part of the entries, each part is tried, and the
 * one of the least error is taken. Work on rows is a kernel (vectors.wat).
 */
import type { Codebook } from '../formats/format.js'
import { instantiate } from '../formats/wasm.js'
import { kernel as descent, inDescent, panelColumns } from './descent.js'
import { vectorsWasm } from './vectors-wasm.js'

/** Bounds of columns are multiples of eight. */
interface Kernel {
  /**
   * Begins a panel, whose H, entries and inverses are in memory.
   * @param even 1 if of eight signs an even number is negative
   * @param own 1 if entries have signs
   */
  enter(width: number, size: number, count: number, even: number, own: number): void
  /**
   * Sets the codes of the columns from `from` to `to`, exclusive, which share a scale, to some of `chosen` entries from `first` on.
   * @param leave 1 if none of the present codes is one of these
   */
  improve(from: number, to: number, scale: number, first: number, chosen: number, leave: number): void
}

const kernel = instantiate<Kernel>(vectorsWasm, { descent })

const mostEntries = 4096
const largestVector = 8
const { buffer } = descent.memory
/** The entries, four side by side: (entry / 4, value, entry % 4). */
const inEntries = new Float32Array(buffer, 273_408, mostEntries * largestVector)
/** The inverse of every vector's part of H, negative: (vectors, size, size). */
const inInverses = new Float32Array(buffer, 928_768, panelColumns * largestVector)

/** A panel: its width, the entries of a part, and the part of each code, at the code plus 128. */
interface Panel {
  readonly width: number
  readonly chosen: number
  readonly parts: number
  readonly partOf: Uint8Array
}
let panel: Panel = { width: 0, chosen: 0, parts: 1, partOf: new Uint8Array(256) }

/** Loads a codebook for a panel of `width` columns, whose part of H is in the memory of descent.ts. */
export function enterVectors({ size, entries, signs, parts }: Codebook, width: number): void {
  const partOf = new Uint8Array(256)
  for (let entry = 0, at = 0; at < entries.length; entry++)
    for (let i = 0; i < size; i++, at++) {
      inEntries[((entry >> 2) * size + i) * 4 + (entry & 3)] = entries[at]
      partOf[entries[at] + 128] = (at * parts) / entries.length
    }
  for (let column = 0; column < width; column += size) invert(column, size, width)
  const count = entries.length / size
  panel = { width, chosen: count / parts, parts, partOf }
  kernel.enter(width, size, count, signs === 'even' ? 1 : 0, signs === 'own' ? 1 : 0)
}

/** Sets the codes of the columns from `from` to `to`, exclusive, which are multiples of eight and share a scale: those of a whole group. */
export function improveVectors(from: number, to: number, scale: number): void {
  const { chosen, parts } = panel
  if (parts === 1) kernel.improve(from, to, scale, 0, chosen, 0)
  else improveParts(from, to, scale)
}

/** The numbers of a row that codes from one column to another change. */
class RowState {
  private readonly slope = new Float32Array(panelColumns)
  private readonly codes = new Float32Array(panelColumns)
  private readonly moved = new Float32Array(panelColumns)

  save(from: number, to: number, width: number): void {
    this.slope.set(inDescent.slope.subarray(0, width))
    this.codes.set(inDescent.codes.subarray(from, to))
    this.moved.set(inDescent.moved.subarray(from, to))
  }

  load(from: number, to: number, width: number): void {
    inDescent.slope.set(this.slope.subarray(0, width))
    inDescent.codes.set(this.codes.subarray(0, to - from), from)
    inDescent.moved.set(this.moved.subarray(0, to - from), from)
  }

  /** By how much the error of the row has changed since this state was saved. */
  change(from: number, to: number): number {
    const { slope, moved } = inDescent
    let change = 0
    for (let j = from; j < to; j++) change += (moved[j] - this.moved[j - from]) * (slope[j] + this.slope[j])
    return change
  }
}

const start = new RowState()
const better = new RowState()

/** The same, in the part of the entries in which the error is least. */
function improveParts(from: number, to: number, scale: number): void {
  const { width, chosen, parts, partOf } = panel
  const present = partOf[inDescent.codes[from] + 128]
  start.save(from, to, width)
  let [taken, least] = [start, 0]
  for (let part = 0; part < parts; part++) {
    if (part > 0) start.load(from, to, width)
    kernel.improve(from, to, scale, part * chosen, chosen, part === present ? 0 : 1)
    const change = start.change(from, to)
    if (!(change < least)) continue
    better.save(from, to, width)
    taken = better
    least = change
  }
  taken.load(from, to, width)
}

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
