/**
 * Unsigned one-byte floats, in which FP4 formats store their scales. Values are halved, as in ggml (`ggml_e8m0_to_fp32_half`
 * and `ggml_ue4m3_to_fp32` in ggml-impl.h): the codes of these formats are doubled, so that they are integers.
 *
 *   E8M0    2^(byte - 127), a power of two (OCP Microscaling Formats 1.0; 255 is NaN there, and read as 2^128 by ggml)
 *   UE4M3   four bits of exponent and three of fraction, (1 + fraction / 8) 2^(exponent - 7), or fraction 2^-9 where the exponent is 0
 *           (E4M3 of OCP 8-bit Floating Point 1.0 without its sign; 127 is NaN there, and read as 0 by ggml, which ignores the eighth bit
 *           but for that)
 *
 * Several bytes can have the same value; the smallest one is written.
 */

export interface ByteFloat {
  /** Half of the value of every byte, as ggml reads it. */
  readonly halves: Float32Array
  /** The values that are numbers by the standard, ascending; scales are rounded to these. */
  readonly numbers: Float32Array
  /** The smallest byte with this halved value. */
  byteOf(half: number): number
}

/** @param last the largest byte that is a number by the standard */
function byteFloat(toValue: (byte: number) => number, last: number): ByteFloat {
  const halves = Float32Array.from({ length: 256 }, (_, byte) => toValue(byte) / 2)
  const bytes = new Map<number, number>()
  for (const [byte, half] of halves.entries()) if (!bytes.has(half)) bytes.set(half, byte)
  return { halves, numbers: halves.slice(0, last + 1), byteOf: (half) => bytes.get(half) ?? 0 }
}

export const E8M0 = byteFloat((byte) => 2 ** (byte - 127), 254)

export const UE4M3 = byteFloat((byte) => {
  const [exponent, fraction] = [(byte >> 3) & 15, byte & 7]
  if (byte === 127) return 0
  return exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7)
}, 126)
