/**
 * Q1_0: 128 weights in 18 bytes (1.125 bits a weight), w = d * q with q -1 or 1.
 *
 *   0   f16 d
 *   2   16 bytes: bit k of byte l is set where q of weight 8 l + k is 1
 *
 * Every byte is canonical.
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnScaled } from '../learned.js'
import { tableOf } from '../levels.js'

/** `q` is -1 or 1. */
export const Q1_0: Format = {
  type: 41,
  name: 'Q1_0',
  blockSize: 128,
  blockBytes: 18,
  fields: { d: 1, q: 128 },

  decode(bytes) {
    const blocks = blocksOfBytes(Q1_0, bytes)
    const codes = emptyCodes(Q1_0, blocks)
    const { d, q } = codes
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 18) {
      d[block] = readHalf(bytes, at)
      for (let j = 0; j < 128; j++, i++) q[i] = (bytes[at + 2 + (j >> 3)] >> (j & 7)) & 1 ? 1 : -1
    }
    return codes
  },

  encode(codes) {
    const { d, q } = codes
    const blocks = blocksOfCodes(Q1_0, codes)
    const bytes = new Uint8Array(18 * blocks)
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 18) {
      writeHalf(bytes, at, d[block])
      for (let j = 0; j < 128; j++, i++) if (q[i] > 0) bytes[at + 2 + (j >> 3)] |= 1 << (j & 7)
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 128),

  ...learnScaled(128, tableOf(-1, 1)),
}
