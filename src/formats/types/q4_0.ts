/**
 * Q4_0: 32 weights in 18 bytes (4.5 bits a weight), w = d * q with q in -8..7.
 *
 *   0   f16 d
 *   2   16 bytes: byte j holds q[j] + 8 in its lower and q[j + 16] + 8 in its upper half
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnScaled } from '../learned.js'

/** `q` is -8..7. */
export const Q4_0: Format = {
  type: 2,
  name: 'Q4_0',
  blockSize: 32,
  blockBytes: 18,
  fields: { d: 1, q: 32 },

  decode(bytes) {
    const blocks = blocksOfBytes(Q4_0, bytes)
    const codes = emptyCodes(Q4_0, blocks)
    const { d, q } = codes
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 18, i += 32) {
      d[block] = readHalf(bytes, at)
      for (let j = 0; j < 16; j++) {
        const pair = bytes[at + 2 + j]
        q[i + j] = (pair & 15) - 8
        q[i + j + 16] = (pair >> 4) - 8
      }
    }
    return codes
  },

  encode(codes) {
    const { d, q } = codes
    const blocks = blocksOfCodes(Q4_0, codes)
    const bytes = new Uint8Array(18 * blocks)
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 18, i += 32) {
      writeHalf(bytes, at, d[block])
      for (let j = 0; j < 16; j++) bytes[at + 2 + j] = (q[i + j] + 8) | ((q[i + j + 16] + 8) << 4)
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 32),

  ...learnScaled(32, [-8, 7]),
}
