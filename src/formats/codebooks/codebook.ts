/**
 * Codebooks: the vectors of magnitudes that four or eight consecutive codes can have, so that a type stores one index for all of them
 * and their signs. Codes are signed magnitudes, as on any other grid: w = scale * q.
 */
import type { Codebook, GridLayout } from '../format.js'
import { tableOf } from '../levels.js'

/** Codes whose signs are stored together. */
const signedTogether = 8

/** Packs and unpacks the codes of a codebook. */
export class CodebookCodec {
  readonly codebook: Codebook
  private readonly bits: number
  /** Place of a magnitude among the possible ones. */
  private readonly places = new Uint8Array(64)
  /** Number of the entry with these places of magnitudes, or -1. */
  private readonly numbers = new Int16Array(1 << 16).fill(-1)

  /**
   * @param magnitudes all that occur, ascending, each below 64
   * @param places of the magnitudes of every entry, the first in the lowest bits of two bytes, in base64
   */
  constructor(
    private readonly magnitudes: readonly number[],
    size: number,
    places: string,
    { evenSigns }: { evenSigns: boolean },
  ) {
    this.bits = 16 / size - (size === 4 ? 1 : 0)
    for (const [place, magnitude] of magnitudes.entries()) this.places[magnitude] = place
    const bytes = Buffer.from(places, 'base64')
    const entries = new Float32Array((bytes.length / 2) * size)
    const mask = (1 << this.bits) - 1
    for (let number = 0; 2 * number < bytes.length; number++) {
      const packed = bytes.readUInt16LE(2 * number)
      this.numbers[packed] = number
      for (let i = 0; i < size; i++)
        entries[number * size + i] = magnitudes[(packed >> (this.bits * i)) & mask]
    }
    this.codebook = { size, entries, signs: evenSigns ? 'even' : 'any', parts: 1 }
  }

  /**
   * The grid.
   * @param groupSize weights that share a scale
   * @param scales of a group, as factors of the block's scale `d`, ascending; field `scales`
   */
  layout(groupSize: number, scales: readonly number[]): GridLayout & { readonly codebook: Codebook } {
    const { magnitudes, codebook } = this
    return {
      groupSize,
      codebook,
      levels: tableOf(...magnitudes.map((m) => -m).toReversed(), ...magnitudes),
      scale: {
        block: { field: 'd', rounding: { as: 'half' } },
        group: { field: 'scales', rounding: { as: 'listed', values: Float32Array.from(scales) } },
      },
    }
  }

  /** Writes the magnitudes of an entry to `q[i]` and on. */
  unpack(number: number, q: Float32Array, i: number): void {
    const { size, entries } = this.codebook
    for (let k = 0, from = number * size; k < size; k++) q[i + k] = entries[from + k]
  }

  /** The number of the entry of the codes from `q[i]` on. @throws RangeError if they are none */
  numberOf(q: Float32Array, i: number): number {
    const { size } = this.codebook
    let packed = 0
    for (let k = 0; k < size; k++) packed |= this.places[Math.abs(q[i + k])] << (this.bits * k)
    const number = this.numbers[packed]
    if (number < 0) throw new RangeError(`codes ${q.slice(i, i + size)} are not in the codebook`)
    return number
  }
}

/** The sign bits of eight codes, whose last one makes the number of negative ones even. */
export function withLastSign(seven: number): number {
  let parity = seven
  parity ^= parity >> 4
  parity ^= parity >> 2
  parity ^= parity >> 1
  return seven | ((parity & 1) << 7)
}

/** Makes those of the eight codes from `q[i]` on negative whose bits are set. */
export function setSigns(bits: number, q: Float32Array, i: number): void {
  for (let k = 0; k < signedTogether; k++) if ((bits >> k) & 1) q[i + k] = -q[i + k]
}

/** The sign bits of the eight codes from `q[i]` on. */
export function signsOf(q: Float32Array, i: number): number {
  let bits = 0
  for (let k = 0; k < signedTogether; k++) if (q[i + k] < 0) bits |= 1 << k
  return bits
}

/** The same without the last. @throws RangeError if that is not the one that makes the number of negative ones even */
export function sevenSignsOf(q: Float32Array, i: number): number {
  const bits = signsOf(q, i)
  if (withLastSign(bits & 127) !== bits) throw new RangeError(`codes ${q.slice(i, i + 8)} have odd signs`)
  return bits & 127
}

/** `first`, `first + step` ... of the numbers that four bits hold. */
export const sixteenScales = (first: number, step: number): number[] =>
  Array.from({ length: 16 }, (_, s) => first + step * s)
