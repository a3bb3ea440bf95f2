/**
 * Q5_1: 32 weights in 24 bytes (6 bits a weight), w = d * q + m with q in 0..31.
 *
 *   0   f16 d
 *   2   f16 m
 *   4   4 bytes of the fifth bits of q (nibbles.ts)
 *   8   16 bytes of the lower four bits of q
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeShifted } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnShifted } from '../learned.js'
import { packFifthBits, packNibbles, unpackFifthBits, unpackNibbles } from '../nibbles.js'

/** `q` is 0..31. */
export const Q5_1: Format = {
  type: 7,
  name: 'Q5_1',
  blockSize: 32,
  blockBytes: 24,
  fields: { d: 1, m: 1, q: 32 },

  decode(bytes) {
    const blocks = blocksOfBytes(Q5_1, bytes)
    const codes = emptyCodes(Q5_1, blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 24) {
      codes.d[block] = readHalf(bytes, at)
      codes.m[block] = readHalf(bytes, at + 2)
      unpackNibbles(bytes, at + 8, codes.q, 32 * block)
      unpackFifthBits(bytes, at + 4, codes.q, 32 * block)
    }
    return codes
  },

  encode(codes) {
    const blocks = blocksOfCodes(Q5_1, codes)
    const bytes = new Uint8Array(24 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 24) {
      writeHalf(bytes, at, codes.d[block])
      writeHalf(bytes, at + 2, codes.m[block])
      packFifthBits(bytes, at + 4, codes.q, 32 * block)
      packNibbles(bytes, at + 8, codes.q, 32 * block)
    }
    return bytes
  },

  dequantize: (codes) => dequantizeShifted(codes, 32),

  ...learnShifted(32, [0, 31]),
}
