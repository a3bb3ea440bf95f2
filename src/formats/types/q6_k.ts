/**
 * Q6_K: 256 weights in 210 bytes (6.5625 bits a weight), 16 groups of 16, w = d * scale * q with q in -32..31.
 *
 * Each half of the block (128 weights) has 64 bytes of lower and 32 bytes of upper bits of q + 32; l = 0..31:
 *   0    128 bytes of the lower four bits: byte l holds weights l and l + 64, byte l + 32 weights l + 32 and l + 96
 *   128  64 bytes of the upper two bits: byte l holds weights l, l + 32, l + 64, l + 96, lowest bits first
 *   192  int8 scale[16]
 *   208  f16 d
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeGrouped } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnGrouped } from '../learned.js'
import { Q8_0 } from './q8_0.js'

/** `scales` are -128..127, `q` is -32..31. */
export const Q6_K: Format = {
  type: 14,
  name: 'Q6_K',
  blockSize: 256,
  blockBytes: 210,
  fields: { d: 1, scales: 16, q: 256 },
  smaller: Q8_0.type,

  decode(bytes) {
    const blocks = blocksOfBytes(Q6_K, bytes)
    const codes = emptyCodes(Q6_K, blocks)
    const { d, scales, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 210) {
      d[block] = readHalf(bytes, at + 208)
      for (let group = 0; group < 16; group++)
        scales[16 * block + group] = (bytes[at + 192 + group] << 24) >> 24
      for (let half = 0; half < 2; half++) {
        const i = 256 * block + 128 * half
        for (let l = 0; l < 32; l++) {
          const even = bytes[at + 64 * half + l]
          const odd = bytes[at + 64 * half + l + 32]
          const high = bytes[at + 128 + 32 * half + l]
          q[i + l] = ((even & 15) | ((high & 3) << 4)) - 32
          q[i + l + 32] = ((odd & 15) | ((high & 12) << 2)) - 32
          q[i + l + 64] = ((even >> 4) | (high & 48)) - 32
          q[i + l + 96] = ((odd >> 4) | ((high & 192) >> 2)) - 32
        }
      }
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(Q6_K, codes)
    const bytes = new Uint8Array(210 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 210) {
      for (let half = 0; half < 2; half++) {
        const i = 256 * block + 128 * half
        for (let l = 0; l < 32; l++) {
          const a = q[i + l] + 32
          const b = q[i + l + 32] + 32
          const c = q[i + l + 64] + 32
          const e = q[i + l + 96] + 32
          bytes[at + 64 * half + l] = (a & 15) | (c << 4)
          bytes[at + 64 * half + l + 32] = (b & 15) | (e << 4)
          bytes[at + 128 + 32 * half + l] = (a >> 4) | ((b >> 4) << 2) | (c & 48) | ((e & 48) << 2)
        }
      }
      for (let group = 0; group < 16; group++) bytes[at + 192 + group] = scales[16 * block + group] | 0
      writeHalf(bytes, at + 208, d[block])
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 16),

  ...learnGrouped(16, [-32, 31], [-128, 127]),
}
