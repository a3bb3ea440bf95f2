/**
 * Q8_0: 32 weights in 34 bytes (8.5 bits a weight), w = d * q.
 *
 *   0   f16 d
 *   2   int8 q[32], in the order of the weights
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnScaled } from '../learned.js'

/** `q` is -128..127; quantizers use -127..127. */
export const Q8_0: Format = {
  type: 8,
  name: 'Q8_0',
  blockSize: 32,
  blockBytes: 34,
  fields: { d: 1, q: 32 },

  decode(bytes) {
    const blocks = blocksOfBytes(Q8_0, bytes)
    const codes = emptyCodes(Q8_0, blocks)
    const { d, q } = codes
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 34) {
      d[block] = readHalf(bytes, at)
      for (let j = 0; j < 32; j++, i++) q[i] = (bytes[at + 2 + j] << 24) >> 24
    }
    return codes
  },

  encode(codes) {
    const { d, q } = codes
    const blocks = blocksOfCodes(Q8_0, codes)
    const bytes = new Uint8Array(34 * blocks)
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 34) {
      writeHalf(bytes, at, d[block])
      for (let j = 0; j < 32; j++, i++) bytes[at + 2 + j] = q[i] | 0
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 32),

  ...learnScaled(32, [-127, 127]),
}
