/**
 * Eight scales and eight minimums of 6 bits in 12 bytes, as Q4_K and Q5_K store them (all values 0..63):
 *
 *   byte j      scale j in bits 0-5, the upper two bits of scale j+4 in bits 6-7      j = 0..3
 *   byte j+4    min j the same way, with the upper two bits of min j+4
 *   byte j+8    the lower four bits of scale j+4 and, above them, of min j+4
 */

/** Reads the 12 bytes at `offset` into `scales` and `mins` from index `first` on. */
export function unpackScales6(
  bytes: Uint8Array,
  offset: number,
  scales: Float32Array,
  mins: Float32Array,
  first: number,
): void {
  for (let j = 0; j < 4; j++) {
    const s = bytes[offset + j]
    const m = bytes[offset + j + 4]
    const low = bytes[offset + j + 8]
    scales[first + j] = s & 63
    mins[first + j] = m & 63
    scales[first + j + 4] = (low & 15) | ((s >> 6) << 4)
    mins[first + j + 4] = (low >> 4) | ((m >> 6) << 4)
  }
}

/** The inverse of `unpackScales6`. */
export function packScales6(
  bytes: Uint8Array,
  offset: number,
  scales: Float32Array,
  mins: Float32Array,
  first: number,
): void {
  for (let j = 0; j < 4; j++) {
    const s = scales[first + j + 4]
    const m = mins[first + j + 4]
    bytes[offset + j] = scales[first + j] | ((s >> 4) << 6)
    bytes[offset + j + 4] = mins[first + j] | ((m >> 4) << 6)
    bytes[offset + j + 8] = (s & 15) | (m << 4)
  }
}
