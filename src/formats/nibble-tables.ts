/**
 * Tables of 16 levels and codes that are stored as their numbers in one, two a byte: of a run of codes, byte j holds the number of
 * code j in its lower and that of code j + half the run in its upper half.
 *
 * Two numbers may have one level; the lesser is the one that is written.
 */
import { type Levels, tableOf } from './levels.js'

export interface NibbleTable {
  readonly levels: Levels
  /** The level of every number. */
  readonly byNumber: readonly number[]
  readonly numberOf: ReadonlyMap<number, number>
}

function nibbleTable(...byNumber: readonly number[]): NibbleTable {
  const numberOf = new Map<number, number>()
  for (const [number, level] of byNumber.entries()) if (!numberOf.has(level)) numberOf.set(level, number)
  return { byNumber, numberOf, levels: tableOf(...[...numberOf.keys()].sort((a, b) => a - b)) }
}

/** Levels that lie closer where weights are many (kvalues_iq4nl in ggml-common.h). */
export const iq4nl = nibbleTable(
  ...[-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
)

/** Floats with a sign, two bits of exponent and one of fraction, doubled (kvalues_fp4 in ggml-common.h): number 8 is -0, which reads as 0. */
export const e2m1 = nibbleTable(...[0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12])

/** The levels of `size` codes from the bytes at `at` to `q[i]`.. */
export function unpackLevels(
  { byNumber }: NibbleTable,
  bytes: Uint8Array,
  at: number,
  q: Float32Array,
  i: number,
  size: number,
): void {
  const half = size / 2
  for (let j = 0; j < half; j++) {
    const pair = bytes[at + j]
    q[i + j] = byNumber[pair & 15]
    q[i + j + half] = byNumber[pair >> 4]
  }
}

/** The inverse of `unpackLevels`. */
export function packLevels(
  { numberOf }: NibbleTable,
  bytes: Uint8Array,
  at: number,
  q: Float32Array,
  i: number,
  size: number,
): void {
  const half = size / 2
  const number = (k: number): number => numberOf.get(q[k]) ?? 0
  for (let j = 0; j < half; j++) bytes[at + j] = number(i + j) | (number(i + j + half) << 4)
}
