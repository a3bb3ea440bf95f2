/**
 * Q4_K: 256 weights in 144 bytes (4.5 bits a weight), 8 groups of 32, w = d * scale * q - dmin * min.
 *
 *   0   f16 d
 *   2   f16 dmin
 *   4   12 bytes of 6-bit scales and mins (scales6.ts)
 *   16  128 bytes of q: each quarter of the block (64 weights) has 32 bytes; byte l holds its weight l in the lower and
 *       its weight l + 32 in the upper half
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeAffine } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnAffine } from '../learned.js'
import { packScales6, unpackScales6 } from '../scales6.js'
import { Q5_0 } from './q5_0.js'

/** `scales` and `mins` are 0..63, `q` is 0..15. */
export const Q4_K: Format = {
  type: 12,
  name: 'Q4_K',
  blockSize: 256,
  blockBytes: 144,
  fields: { d: 1, dmin: 1, scales: 8, mins: 8, q: 256 },
  smaller: Q5_0.type,

  decode(bytes) {
    const blocks = blocksOfBytes(Q4_K, bytes)
    const codes = emptyCodes(Q4_K, blocks)
    const { d, dmin, scales, mins, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 144) {
      d[block] = readHalf(bytes, at)
      dmin[block] = readHalf(bytes, at + 2)
      unpackScales6(bytes, at + 4, scales, mins, 8 * block)
      for (let quarter = 0; quarter < 4; quarter++) {
        const i = 256 * block + 64 * quarter
        for (let l = 0; l < 32; l++) {
          const pair = bytes[at + 16 + 32 * quarter + l]
          q[i + l] = pair & 15
          q[i + l + 32] = pair >> 4
        }
      }
    }
    return codes
  },

  encode(codes) {
    const { d, dmin, scales, mins, q } = codes
    const blocks = blocksOfCodes(Q4_K, codes)
    const bytes = new Uint8Array(144 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 144) {
      writeHalf(bytes, at, d[block])
      writeHalf(bytes, at + 2, dmin[block])
      packScales6(bytes, at + 4, scales, mins, 8 * block)
      for (let quarter = 0; quarter < 4; quarter++) {
        const i = 256 * block + 64 * quarter
        for (let l = 0; l < 32; l++) bytes[at + 16 + 32 * quarter + l] = q[i + l] | (q[i + l + 32] << 4)
      }
    }
    return bytes
  },

  dequantize: (codes) => dequantizeAffine(codes, 32),

  ...learnAffine(32, [0, 15], [0, 63]),
}
