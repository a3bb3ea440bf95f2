/**
 * Q2_0: 64 weights in 18 bytes (2.25 bits a weight), w = d * q with q in -1..2.
 *
 *   0   f16 d
 *   2   16 bytes: byte l holds two bits of q + 1 of its weights 4 l to 4 l + 3, lowest bits first
 *
 * Every byte is canonical. ggml's quantizer takes the largest magnitude for d, so that it never uses 2.
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnScaled } from '../learned.js'
import { Q4_0 } from './q4_0.js'

/** `q` is -1..2. */
export const Q2_0: Format = {
  type: 42,
  name: 'Q2_0',
  blockSize: 64,
  blockBytes: 18,
  fields: { d: 1, q: 64 },
  smaller: Q4_0.type,

  decode(bytes) {
    const blocks = blocksOfBytes(Q2_0, bytes)
    const codes = emptyCodes(Q2_0, blocks)
    const { d, q } = codes
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 18) {
      d[block] = readHalf(bytes, at)
      for (let j = 0; j < 64; j++, i++) q[i] = ((bytes[at + 2 + (j >> 2)] >> (2 * (j & 3))) & 3) - 1
    }
    return codes
  },

  encode(codes) {
    const { d, q } = codes
    const blocks = blocksOfCodes(Q2_0, codes)
    const bytes = new Uint8Array(18 * blocks)
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 18) {
      writeHalf(bytes, at, d[block])
      for (let j = 0; j < 64; j++, i++) bytes[at + 2 + (j >> 2)] |= (q[i] + 1) << (2 * (j & 3))
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 64),

  ...learnScaled(64, [-1, 2]),
}
