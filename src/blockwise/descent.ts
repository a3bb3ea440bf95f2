/** The kernel of rounding and of coordinate descent on a row, descent.wat, and its memory: one for each thread. */
import { instantiate } from '../backends/wasm.js'
import { descentWasm } from './descent-wasm.js'

/** Most columns of a panel: a multiple of every block's size. */
export const panelColumns = 256

interface Descent {
  readonly memory: { readonly buffer: ArrayBuffer }
  /** slope[k] += by * H[row, k] for `width` columns, a multiple of four. */
  move(row: number, width: number, by: number): void
  /** left[j] -= error * U[row, j] for the columns after `row`; those up to it are undefined afterwards. */
  propagate(row: number, width: number, error: number): void
  /** `move` for the rows from `from` to `to`, exclusive, each by `by` times its direction. */
  moveAlong(from: number, to: number, width: number, by: number): void
}

export const kernel = instantiate<Descent>(descentWasm)

const { buffer } = kernel.memory
/** The kernel's memory. */
export const inDescent = {
  /** H of a panel, (width, width), or U. */
  block: new Float32Array(buffer, 0, panelColumns ** 2),
  /** One for each column. */
  slope: new Float64Array(buffer, 4 * panelColumns ** 2, panelColumns),
  direction: new Float64Array(buffer, 4 * panelColumns ** 2 + 8 * panelColumns, panelColumns),
  /** The weights of a row yet to be rounded. */
  left: new Float32Array(buffer, 4 * panelColumns ** 2, panelColumns),
}
