/**
 * Q3_K: 256 weights in 110 bytes (3.4375 bits a weight), 16 groups of 16, w = d * scale * q with q in -4..3.
 *
 *   0    32 bytes of upper bits: bit k of byte l is the upper bit of q + 4 of weight 32 k + l
 *   32   64 bytes of lower bits: each half of the block (128 weights) has 32 bytes; byte l holds two bits of q + 4 of its
 *        weights l, l + 32, l + 64, l + 96, lowest bits first
 *   96   12 bytes of scales, s = scale + 32: the lower halves of bytes 0-7 are the lower four bits of s of groups 0-7,
 *        the upper halves those of groups 8-15; byte 8 + j holds two upper bits of groups j, j + 4, j + 8, j + 12
 *   108  f16 d
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeGrouped } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnGrouped } from '../learned.js'
import { Q4_0 } from './q4_0.js'

/** `scales` are -32..31, `q` is -4..3. */
export const Q3_K: Format = {
  type: 11,
  name: 'Q3_K',
  blockSize: 256,
  blockBytes: 110,
  fields: { d: 1, scales: 16, q: 256 },
  smaller: Q4_0.type,

  decode(bytes) {
    const blocks = blocksOfBytes(Q3_K, bytes)
    const codes = emptyCodes(Q3_K, blocks)
    const { d, scales, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 110) {
      d[block] = readHalf(bytes, at + 108)
      for (let group = 0; group < 16; group++) {
        const low = (bytes[at + 96 + (group & 7)] >> (group < 8 ? 0 : 4)) & 15
        const high = (bytes[at + 104 + (group & 3)] >> (2 * (group >> 2))) & 3
        scales[16 * block + group] = (low | (high << 4)) - 32
      }
      for (let half = 0; half < 2; half++) {
        const i = 256 * block + 128 * half
        for (let l = 0; l < 32; l++) {
          const low = bytes[at + 32 + 32 * half + l]
          const high = (bytes[at + l] >> (4 * half)) << 2
          q[i + l] = ((low & 3) | (high & 4)) - 4
          q[i + l + 32] = (((low >> 2) & 3) | ((high >> 1) & 4)) - 4
          q[i + l + 64] = (((low >> 4) & 3) | ((high >> 2) & 4)) - 4
          q[i + l + 96] = ((low >> 6) | ((high >> 3) & 4)) - 4
        }
      }
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(Q3_K, codes)
    const bytes = new Uint8Array(110 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 110) {
      for (let group = 0; group < 16; group++) {
        const s = scales[16 * block + group] + 32
        bytes[at + 96 + (group & 7)] |= (s & 15) << (group < 8 ? 0 : 4)
        bytes[at + 104 + (group & 3)] |= (s >> 4) << (2 * (group >> 2))
      }
      for (let half = 0; half < 2; half++) {
        const i = 256 * block + 128 * half
        for (let l = 0; l < 32; l++) {
          const a = q[i + l] + 4
          const b = q[i + l + 32] + 4
          const c = q[i + l + 64] + 4
          const e = q[i + l + 96] + 4
          bytes[at + 32 + 32 * half + l] = (a & 3) | ((b & 3) << 2) | ((c & 3) << 4) | (e << 6)
          bytes[at + l] |= ((a >> 2) | ((b >> 2) << 1) | ((c >> 2) << 2) | ((e >> 2) << 3)) << (4 * half)
        }
      }
      writeHalf(bytes, at + 108, d[block])
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 16),

  ...learnGrouped(16, [-4, 3], [-32, 31]),
}
