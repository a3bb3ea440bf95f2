/**
 * Tables of 16 levels, and codes that are stored as indices into one, two per byte: in a run of codes, byte j holds the index of
 * code j in its lower and that of code j + half the run in its upper four bits.
 *
 * Two indices can have the same level; the smaller one is written.
 */
import { type Levels, tableOf } from './levels.js'

export interface NibbleTable {
  readonly levels: Levels
  /** The level of every index. */
  readonly byNumber: readonly number[]
  readonly numberOf: ReadonlyMap<number, number>
}

function nibbleTable(...byNumber: readonly number[]): NibbleTable {
  const numberOf = new Map<number, number>()
  for (const [number, level] of byNumber.entries()) if (!numberOf.has(level)) numberOf.set(level, number)
  return { byNumber, numberOf, levels: tableOf(...[...numberOf.keys()].sort((a, b) => a - b)) }
}

/** Levels that are denser where weights are frequent (kvalues_iq4nl in ggml-common.h). */
export const iq4nl = nibbleTable(
  ...[-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
)

/** Doubled floats with a sign, two exponent bits and one fraction bit (kvalues_fp4 in ggml-common.h); index 8 is -0, which reads as 0. */
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
