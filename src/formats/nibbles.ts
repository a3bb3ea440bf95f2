/**
 * Codes of 32 weights as Q4_1, Q5_0 and Q5_1 pack them: byte j holds the lower four bits of weight j in its lower and those
 * of weight j + 16 in its upper half. Fifth bits are in a little-endian 32-bit number, bit j for weight j.
 */

/** Four-bit codes from 16 bytes at `at` to `q[i]`.. */
export function unpackNibbles(bytes: Uint8Array, at: number, q: Float32Array, i: number): void {
  for (let j = 0; j < 16; j++) {
    const pair = bytes[at + j]
    q[i + j] = pair & 15
    q[i + j + 16] = pair >> 4
  }
}

/** The lower four bits of `q[i]`.. (plus `offset`) to 16 bytes at `at`. */
export function packNibbles(bytes: Uint8Array, at: number, q: Float32Array, i: number, offset = 0): void {
  for (let j = 0; j < 16; j++)
    bytes[at + j] = ((q[i + j] + offset) & 15) | (((q[i + j + 16] + offset) & 15) << 4)
}

/** Adds 16 to the codes whose fifth bit is set in the 4 bytes at `at`. */
export function unpackFifthBits(bytes: Uint8Array, at: number, q: Float32Array, i: number): void {
  for (let j = 0; j < 32; j++) q[i + j] += ((bytes[at + (j >> 3)] >> (j & 7)) & 1) << 4
}

/** The fifth bits of `q[i]`.. (plus `offset`) to the 4 bytes at `at`, which are zero. */
export function packFifthBits(bytes: Uint8Array, at: number, q: Float32Array, i: number, offset = 0): void {
  for (let j = 0; j < 32; j++) bytes[at + (j >> 3)] |= (((q[i + j] + offset) >> 4) & 1) << (j & 7)
}
