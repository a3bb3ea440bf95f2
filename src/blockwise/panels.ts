/**
 * Row by row rounding and refining of a matrix and searching for its scales, as self-contained work on some rows of a panel of columns.
 * It can run on any thread (row-pool.ts), with the same result.
 */
import type { Codes, GridLayout } from '../formats/format.js'
import { type Levels, nearest } from '../formats/levels.js'
import { type Searchable, searchCodes } from '../quantize/search/search.js'
import { weighErrors } from '../quantize/search/weighing.js'
import { Coordinates } from './coordinates.js'
import { inDescent, kernel } from './descent.js'

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
}

interface Refined {
  readonly codes: Codes
  /** The change of each weight. */
  readonly moved: Float32Array
  /** The unrounded optimum of each weight, with all others fixed. */
  readonly optimum: Float32Array
}

/** Rows of a panel to be rounded, column after column. */
export interface RoundPanel {
  readonly kind: 'round'
  readonly rows: number
  readonly width: number
  readonly levels: Levels
  /** U of these columns, (width, width). */
  readonly inverse: Float32Array
  /** The weights yet to be rounded, and the grid of each: (rows, width). */
  readonly left: Float32Array
  readonly scales: Float32Array
  readonly mins: Float32Array | undefined
}

interface RoundedPanel {
  /** The value of each weight when it was rounded, and its code. */
  readonly weights: Float32Array
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

function refinePanel({ rows, width, layout, h, slopes, codes }: RefinePanel): Refined {
  const optimum = new Float32Array(rows * width)
  const moved = new Float32Array(rows * width)
  const coordinates = new Coordinates(codes, layout, width, h, optimum)
  coordinates.enter(0, width)
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < width; j++) coordinates.slope[j] = slopes[r * width + j]
    coordinates.improve(r, moved.subarray(r * width, (r + 1) * width))
  }
  return { codes, moved, optimum }
}

function roundPanel({ rows, width, levels, inverse, left, scales, mins }: RoundPanel): RoundedPanel {
  const weights = new Float32Array(rows * width)
  const q = new Float32Array(rows * width)
  const errors = new Float32Array(rows * width)
  const own = inDescent.left
  inDescent.block.set(inverse)
  for (let r = 0; r < rows; r++) {
    own.set(left.subarray(r * width, (r + 1) * width))
    for (let i = 0, at = r * width; i < width; i++, at++) {
      const w = own[i]
      const scale = scales[at]
      const min = mins?.[at] ?? 0
      const code = nearest(levels, scale === 0 ? 0 : (w + min) / scale)
      weights[at] = w
      q[at] = code
      const error = (w - (scale * code - min)) / inverse[i * width + i]
      errors[at] = error
      kernel.propagate(i, width, error)
    }
  }
  return { weights, q, errors }
}
