/** The kernel of rounding and of coordinate descent on a row, descent.wat, and its memory: one for each thread. */

import type { Levels } from '../formats/levels.js'
import { instantiate } from '../formats/wasm.js'
import { descentWasm } from './descent-wasm.js'

/** Most columns of a panel: a multiple of every block's size. */
export const panelColumns = 256

/** Levels as the kernel takes them: integers from `lo` to `hi`, or those of the table in its memory. */
type LevelArguments = readonly [lo: number, hi: number, steps: number]

/** Bounds of columns and the width of the panel are multiples of four. */
interface Descent {
  readonly memory: { readonly buffer: ArrayBuffer }
  /** Sets the codes of the columns from `from` to `to`, exclusive, one after another, each to its best level. */
  improveCodes(from: number, to: number, width: number, scale: number, ...levels: LevelArguments): void
  /** Sets the direction of some columns: `unit` times their codes, or `unit` if `codes` is 0. Returns its product with their slopes. */
  direct(from: number, to: number, unit: number, codes: number): number
  /**
   * Writes H times the direction of some columns, for the columns from `first` to `last`, exclusive. Returns its product with the
   * direction of the latter.
   */
  spread(from: number, to: number, width: number, first: number, last: number): number
  /** Moves some columns along their direction. `spread` was called for all columns. */
  advance(from: number, to: number, width: number, by: number): void
  /** Writes the unrounded optimum of each of some columns, with all others fixed. */
  findOptimum(from: number, to: number, scale: number, shift: number): void
  /** Rounds the weights of four rows, on the scales and minimums in memory, and writes their codes and errors. Any width. */
  round(width: number, ...levels: LevelArguments): void
}

export const kernel = instantiate<Descent>(descentWasm)

const place = (row: number): Float32Array =>
  new Float32Array(kernel.memory.buffer, 4 * panelColumns * (panelColumns + row), panelColumns)

/** The kernel's memory for a descent. All but `block` have one number for each column. */
export const inDescent = {
  /** H of a panel, (width, width), or U. */
  block: new Float32Array(kernel.memory.buffer, 0, panelColumns ** 2),
  slope: place(0),
  direction: place(1),
  codes: place(2),
  /** The change of each weight. */
  moved: place(3),
  /** H_jj. */
  diagonal: place(4),
  /** H times the direction. */
  spread: place(5),
  optimum: place(6),
}

/** Rows that are rounded at once. */
export const roundedRows = 4

const fourRows = (index: number): Float32Array =>
  new Float32Array(
    kernel.memory.buffer,
    273_408 + 4 * roundedRows * panelColumns * index,
    roundedRows * panelColumns,
  )

/** The kernel's memory for rounding: each (rows, panelColumns). U is in `inDescent.block`. */
export const inRounding = {
  weights: fourRows(0),
  scales: fourRows(1),
  mins: fourRows(2),
  codes: fourRows(3),
  /** Of each rounded weight, see gptq.ts. */
  errors: fourRows(4),
}

const table = place(9)

/** Copies a table of levels to the kernel, and returns its arguments for them. */
export function loadLevels({ lo, hi, table: own }: Levels): LevelArguments {
  if (!own) return [lo, hi, 0]
  const { values, middles } = own
  for (const [i, middle] of middles.entries()) table.set([middle, values[i + 1] - values[i]], 2 * i)
  return [lo, hi, middles.length]
}
