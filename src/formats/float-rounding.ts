/**
 * The precision with which floats were stored, and so the largest rounding error of each. The weights of a checkpoint may have been
 * rounded to 16 bits before they were stored with 32, so the precision is detected from the values, not from the tensor's type.
 *
 * A stored number stands for any number up to half a unit in the last place away. The unit of a type with f fraction bits is 2^(e - f)
 * for numbers of exponent e, and no smaller than that of its least normal number.
 */
import { BF16 } from './types/bf16.js'
import { F16 } from './types/f16.js'
import { F32 } from './types/f32.js'

/** A computed number has passed through about two f32 operations, each with half a unit of error. */
const arithmetic = 2 ** -23

export interface FloatRounding {
  /** Name of the float format. */
  readonly name: string
  /** Greatest relative error of a normal number. */
  readonly relative: number
  /** Greatest error, by the exponent bits of an f32. */
  readonly errors: Float64Array
}

function rounding(name: string, fraction: number, leastExponent: number, extra = 0): FloatRounding {
  const relative = 2 ** -(fraction + 1)
  const errors = Float64Array.from({ length: 256 }, (_, bits) => {
    const size = 2 ** (Math.max(bits, 1) - 127)
    return Math.max(size, 2 ** leastExponent) * relative + size * arithmetic + extra
  })
  return { name, relative, errors }
}

/** Half of the spacing of subnormal halves. */
const halfOfLeastHalf = 2 ** -25
const f32 = rounding(F32.name, 23, -126)
const f16 = rounding(F16.name, 10, -14)
const bf16 = rounding(BF16.name, 7, -126)
/** BF16 numbers that were also rounded to F16, which affects small ones. */
const bf16AsF16 = rounding(BF16.name, 7, -126, halfOfLeastHalf)

/** Bits of the smallest normal half. */
const leastHalf = 0x38800000

/** The coarsest rounding that is consistent with all values. `bits` are those of f32. */
export function roundingOf(bits: Uint32Array): FloatRounding {
  let [isBf16, isF16, isBoth] = [true, true, true]
  for (let i = 0; i < bits.length && (isBf16 || isF16); i++) {
    const size = bits[i] & 0x7fffffff
    const short = (size & 0xffff) === 0
    const half = isHalf(size)
    isBf16 &&= short
    isF16 &&= half
    isBoth &&= half && (short || size < leastHalf)
  }
  if (isBf16) return bf16
  if (isF16) return isBoth ? bf16AsF16 : f16
  return f32
}

/** Whether F16 represents a number exactly, given the bits of its magnitude. */
function isHalf(size: number): boolean {
  if (size >= leastHalf) return size < 0x47800000 && (size & 0x1fff) === 0
  if (size === 0) return true
  // Below the smallest normal half, halves are multiples of 2^-24.
  const exponent = size >>> 23
  const dropped = 126 - exponent
  if (dropped > 23) return false
  return (size & ((1 << dropped) - 1)) === 0
}
