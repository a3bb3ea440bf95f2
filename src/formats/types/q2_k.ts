/**
 * Q2_K: 256 weights in 84 bytes (2.625 bits a weight), 16 groups of 16, w = d * scale * q - dmin * min.
 *
 *   0   16 bytes: per group the scale in the lower and the min in the upper half
 *   16  64 bytes of q: each half of the block (128 weights) has 32 bytes; byte l holds the 2-bit codes of its weights
 *       l, l + 32, l + 64, l + 96, lowest bits first
 *   80  f16 d
 *   82  f16 dmin
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeAffine } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnAffine } from '../learned.js'
import { Q4_0 } from './q4_0.js'

/** `scales` and `mins` are 0..15, `q` is 0..3. */
export const Q2_K: Format = {
  type: 10,
  name: 'Q2_K',
  blockSize: 256,
  blockBytes: 84,
  fields: { d: 1, dmin: 1, scales: 16, mins: 16, q: 256 },
  smaller: Q4_0.type,

  decode(bytes) {
    const blocks = blocksOfBytes(Q2_K, bytes)
    const codes = emptyCodes(Q2_K, blocks)
    const { d, dmin, scales, mins, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 84) {
      d[block] = readHalf(bytes, at + 80)
      dmin[block] = readHalf(bytes, at + 82)
      for (let group = 0; group < 16; group++) {
        const pair = bytes[at + group]
        scales[16 * block + group] = pair & 15
        mins[16 * block + group] = pair >> 4
      }
      for (let half = 0; half < 2; half++) {
        const i = 256 * block + 128 * half
        for (let l = 0; l < 32; l++) {
          const four = bytes[at + 16 + 32 * half + l]
          q[i + l] = four & 3
          q[i + l + 32] = (four >> 2) & 3
          q[i + l + 64] = (four >> 4) & 3
          q[i + l + 96] = four >> 6
        }
      }
    }
    return codes
  },

  encode(codes) {
    const { d, dmin, scales, mins, q } = codes
    const blocks = blocksOfCodes(Q2_K, codes)
    const bytes = new Uint8Array(84 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 84) {
      for (let group = 0; group < 16; group++) {
        bytes[at + group] = scales[16 * block + group] | (mins[16 * block + group] << 4)
      }
      for (let half = 0; half < 2; half++) {
        const i = 256 * block + 128 * half
        for (let l = 0; l < 32; l++) {
          bytes[at + 16 + 32 * half + l] =
            q[i + l] | (q[i + l + 32] << 2) | (q[i + l + 64] << 4) | (q[i + l + 96] << 6)
        }
      }
      writeHalf(bytes, at + 80, d[block])
      writeHalf(bytes, at + 82, dmin[block])
    }
    return bytes
  },

  dequantize: (codes) => dequantizeAffine(codes, 16),

  ...learnAffine(16, [0, 3], [0, 15]),
}
