/**
 * Q5_0: 32 weights in 22 bytes (5.5 bits a weight), w = d * q with q in -16..15.
 *
 *   0   f16 d
 *   2   4 bytes of the fifth bits of q + 16 (nibbles.ts)
 *   6   16 bytes of the lower four bits of q + 16
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnScaled } from '../learned.js'
import { packFifthBits, packNibbles, unpackFifthBits, unpackNibbles } from '../nibbles.js'

/** `q` is -16..15. */
export const Q5_0: Format = {
  type: 6,
  name: 'Q5_0',
  blockSize: 32,
  blockBytes: 22,
  fields: { d: 1, q: 32 },

  decode(bytes) {
    const blocks = blocksOfBytes(Q5_0, bytes)
    const codes = emptyCodes(Q5_0, blocks)
    const { d, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 22) {
      d[block] = readHalf(bytes, at)
      unpackNibbles(bytes, at + 6, q, 32 * block)
      unpackFifthBits(bytes, at + 2, q, 32 * block)
    }
    for (let i = 0; i < q.length; i++) q[i] -= 16
    return codes
  },

  encode(codes) {
    const blocks = blocksOfCodes(Q5_0, codes)
    const bytes = new Uint8Array(22 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 22) {
      writeHalf(bytes, at, codes.d[block])
      packFifthBits(bytes, at + 2, codes.q, 32 * block, 16)
      packNibbles(bytes, at + 6, codes.q, 32 * block, 16)
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 32),

  ...learnScaled(32, [-16, 15]),
}
