/**
 * Q5_K: 256 weights in 176 bytes (5.5 bits a weight), 8 groups of 32, w = d * scale * q - dmin * min.
 *
 *   0   f16 d
 *   2   f16 dmin
 *   4   12 bytes of 6-bit scales and mins (scales6.ts)
 *   16  32 bytes of upper bits: bit k of byte l is the fifth bit of weight 32 k + l
 *   48  128 bytes of the lower four bits: each quarter of the block (64 weights) has 32 bytes; byte l holds its weight l
 *       in the lower and its weight l + 32 in the upper half
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeAffine } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnAffine } from '../learned.js'
import { packScales6, unpackScales6 } from '../scales6.js'
import { Q5_1 } from './q5_1.js'

/** `scales` and `mins` are 0..63, `q` is 0..31. */
export const Q5_K: Format = {
  type: 13,
  name: 'Q5_K',
  blockSize: 256,
  blockBytes: 176,
  fields: { d: 1, dmin: 1, scales: 8, mins: 8, q: 256 },
  smaller: Q5_1.type,

  decode(bytes) {
    const blocks = blocksOfBytes(Q5_K, bytes)
    const codes = emptyCodes(Q5_K, blocks)
    const { d, dmin, scales, mins, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 176) {
      d[block] = readHalf(bytes, at)
      dmin[block] = readHalf(bytes, at + 2)
      unpackScales6(bytes, at + 4, scales, mins, 8 * block)
      for (let quarter = 0; quarter < 4; quarter++) {
        const i = 256 * block + 64 * quarter
        for (let l = 0; l < 32; l++) {
          const pair = bytes[at + 48 + 32 * quarter + l]
          const high = bytes[at + 16 + l] >> (2 * quarter)
          q[i + l] = (pair & 15) | ((high & 1) << 4)
          q[i + l + 32] = (pair >> 4) | ((high & 2) << 3)
        }
      }
    }
    return codes
  },

  encode(codes) {
    const { d, dmin, scales, mins, q } = codes
    const blocks = blocksOfCodes(Q5_K, codes)
    const bytes = new Uint8Array(176 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 176) {
      writeHalf(bytes, at, d[block])
      writeHalf(bytes, at + 2, dmin[block])
      packScales6(bytes, at + 4, scales, mins, 8 * block)
      for (let quarter = 0; quarter < 4; quarter++) {
        const i = 256 * block + 64 * quarter
        for (let l = 0; l < 32; l++) {
          const a = q[i + l]
          const b = q[i + l + 32]
          bytes[at + 48 + 32 * quarter + l] = (a & 15) | (b << 4)
          bytes[at + 16 + l] |= ((a >> 4) | ((b >> 4) << 1)) << (2 * quarter)
        }
      }
    }
    return bytes
  },

  dequantize: (codes) => dequantizeAffine(codes, 32),

  ...learnAffine(32, [0, 31], [0, 63]),
}
