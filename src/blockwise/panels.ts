/**
 * Row by row rounding and refining of a matrix and searching for its scales, as self-contained work on some rows of a panel of columns.
 * It can run on any thread (row-pool.ts), with the same result.
 */
import type { Codes, GridLayout } from '../formats/format.js'
import type { Levels } from '../formats/levels.js'
import { type Searchable, searchCodes } from '../quantize/search/search.js'
import { weighErrors } from '../quantize/search/weighing.js'
import { Coordinates } from './coordinates.js'
import { inDescent, inRounding, kernel, loadLevels, panelColumns, roundedRows } from './descent.js'

/** Rows of a panel to be refined, with `width` columns. Arrays are (rows, width); codes are those of a matrix of that shape. */
export interface RefinePanel {
  readonly kind: 'refine'
  readonly rows: number
  readonly width: number
  readonly layout: GridLayout
  /** H of these columns, (width, width). */
  readonly h: Float32Array
  readonly slopes: Float32Array
  readonly codes: Codes
  /** Whether the optimum of each weight is wanted. */
  readonly last: boolean
}

interface Refined {
  readonly codes: Codes
  /** The change of each weight. */
  readonly moved: Float32Array
  /** The unrounded optimum of each weight, with all others fixed. */
  readonly optimum: Float32Array | undefined
}

/** Rows of a panel to be rounded, column after column. */
export interface RoundPanel {
  readonly kind: 'round'
  readonly rows: number
  readonly width: number
  readonly levels: Levels
  /** U of these columns, (width, width). */
  readonly inverse: Float32Array
  /** The weights yet to be rounded, (rows, width). */
  readonly left: Float32Array
  /** The scales, and the minimums if there are any, of all groups of these rows. */
  readonly scales: Float32Array
  readonly mins: Float32Array | undefined
  /** The group of each column, counted in its row. */
  readonly groups: Int32Array
}

interface RoundedPanel {
  readonly q: Float32Array
  /** (w_i - w'_i) / U_ii */
  readonly errors: Float32Array
}

/** Whole rows whose scales are searched for (search.ts). */
export interface SearchPanel {
  readonly kind: 'search'
  readonly format: Searchable
  readonly width: number
  /** (rows, width). */
  readonly weights: Float32Array
  /** Of each column. */
  readonly importance: Float32Array
  /** Where the search begins. */
  readonly codes: Codes
}

interface Searched {
  readonly codes: Codes
}

export type Panel = RefinePanel | RoundPanel | SearchPanel

export type ResultOf<P extends Panel> = P extends RefinePanel
  ? Refined
  : P extends RoundPanel
    ? RoundedPanel
    : Searched

export function runPanel<P extends Panel>(panel: P): ResultOf<P> {
  const result =
    panel.kind === 'refine'
      ? refinePanel(panel)
      : panel.kind === 'round'
        ? roundPanel(panel)
        : searchPanel(panel)
  return result as ResultOf<P>
}

function searchPanel({ format, width, weights, importance, codes }: SearchPanel): Searched {
  const factors = weighErrors(weights, width, importance)
  return { codes: searchCodes(format, codes, weights, factors) }
}

function refinePanel({ rows, width, layout, h, slopes, codes, last }: RefinePanel): Refined {
  const optimum = last ? new Float32Array(rows * width) : undefined
  const moved = new Float32Array(rows * width)
  const coordinates = new Coordinates(codes, layout, width, h, optimum)
  coordinates.enter(0, width)
  for (let r = 0; r < rows; r++) {
    inDescent.slope.set(slopes.subarray(r * width, (r + 1) * width))
    coordinates.improve(r, moved.subarray(r * width, (r + 1) * width))
  }
  return { codes, moved, optimum }
}

function roundPanel({ rows, width, levels, inverse, left, scales, mins, groups }: RoundPanel): RoundedPanel {
  const q = new Float32Array(rows * width)
  const errors = new Float32Array(rows * width)
  const own = loadLevels(levels)
  inDescent.block.set(inverse)
  inRounding.mins.fill(0)
  const groupsOfRow = scales.length / rows
  /** Copies the numbers of a row's groups to their columns. */
  const spread = (values: Float32Array, row: number, into: Float32Array, at: number) => {
    for (let i = 0, first = row * groupsOfRow; i < width; i++) into[at + i] = values[first + groups[i]]
  }
  for (let first = 0; first < rows; first += roundedRows) {
    const count = Math.min(roundedRows, rows - first)
    for (let k = 0, row = first, at = 0; k < count; k++, row++, at += panelColumns) {
      inRounding.weights.set(left.subarray(row * width, (row + 1) * width), at)
      spread(scales, row, inRounding.scales, at)
      if (mins) spread(mins, row, inRounding.mins, at)
    }
    kernel.round(width, ...own)
    for (let k = 0, row = first, at = 0; k < count; k++, row++, at += panelColumns) {
      q.set(inRounding.codes.subarray(at, at + width), row * width)
      errors.set(inRounding.errors.subarray(at, at + width), row * width)
    }
  }
  return { q, errors }
}
