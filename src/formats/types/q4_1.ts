/**
 * Q4_1: 32 weights in 20 bytes (5 bits a weight), w = d * q + m with q in 0..15.
 *
 *   0   f16 d
 *   2   f16 m
 *   4   16 bytes of q (nibbles.ts)
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeShifted } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnShifted } from '../learned.js'
import { packNibbles, unpackNibbles } from '../nibbles.js'

/** `q` is 0..15. */
export const Q4_1: Format = {
  type: 3,
  name: 'Q4_1',
  blockSize: 32,
  blockBytes: 20,
  fields: { d: 1, m: 1, q: 32 },

  decode(bytes) {
    const blocks = blocksOfBytes(Q4_1, bytes)
    const codes = emptyCodes(Q4_1, blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 20) {
      codes.d[block] = readHalf(bytes, at)
      codes.m[block] = readHalf(bytes, at + 2)
      unpackNibbles(bytes, at + 4, codes.q, 32 * block)
    }
    return codes
  },

  encode(codes) {
    const blocks = blocksOfCodes(Q4_1, codes)
    const bytes = new Uint8Array(20 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 20) {
      writeHalf(bytes, at, codes.d[block])
      writeHalf(bytes, at + 2, codes.m[block])
      packNibbles(bytes, at + 4, codes.q, 32 * block)
    }
    return bytes
  },

  dequantize: (codes) => dequantizeShifted(codes, 32),

  ...learnShifted(32, [0, 15]),
}
