/** What the tables of a comparison have in common. */
import type { ComparedFile } from '../compare/comparison.js'

type Rows = readonly (readonly string[])[]

/** A table without the columns in which no row has anything. */
export function filled(header: readonly string[], rows: Rows): [header: string[], rows: string[][]] {
  const kept = (cells: readonly string[]) => cells.filter((_, c) => rows.some((row) => row[c] !== ''))
  return [kept(header), rows.map(kept)]
}

type Bits = NonNullable<ComparedFile['effectiveBits']>

export const boundSign = (bound: Bits['bound']): string => ({ exact: '', atLeast: '≥ ', atMost: '≤ ' })[bound]

/** Bits per weight that PTQ needs for the same loss; a bound has no interval. */
export function effectiveText({ bound, value, interval }: Bits): string {
  const range = bound === 'exact' ? ` (${interval.map((bits) => bits.toFixed(2)).join(' - ')})` : ''
  return `${boundSign(bound)}${value.toFixed(2)} bits${range}`
}
