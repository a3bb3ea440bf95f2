/** Formatting of numbers and tables, for the terminal and reports. */
import { table as tableOf } from '../../format.js'
import { outputColumns } from './style.js'

export { humanBytes, humanCount, plain, plural, plusMinus, visible } from '../../format.js'

/** A table no wider than the terminal. @param indent of its lines */
export const table = (
  rows: readonly (readonly string[])[],
  right: ReadonlySet<number>,
  indent = 0,
): string[] => tableOf(rows, right, (outputColumns() ?? Number.POSITIVE_INFINITY) - indent)
