/**
 * TQ2_0: 256 weights in 66 bytes (2.0625 bits a weight), w = d * q with q in -1..1.
 *
 *   0   64 bytes: each half of the block (128 weights) has 32 of them; byte l holds two bits of q + 1 of its weights l, l + 32,
 *       l + 64, l + 96, lowest bits first (the value 3, which is no code of ggml's, reads as q = 2)
 *   64  f16 d
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnScaled } from '../learned.js'
import { Q4_0 } from './q4_0.js'

/** `q` is -1..1. */
export const TQ2_0: Format = {
  type: 35,
  name: 'TQ2_0',
  blockSize: 256,
  blockBytes: 66,
  fields: { d: 1, q: 256 },
  smaller: Q4_0.type,

  decode(bytes) {
    const blocks = blocksOfBytes(TQ2_0, bytes)
    const codes = emptyCodes(TQ2_0, blocks)
    const { d, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 66) {
      for (let half = 0; half < 2; half++)
        for (let l = 0; l < 32; l++) {
          const four = bytes[at + 32 * half + l]
          const i = 256 * block + 128 * half + l
          for (let k = 0; k < 4; k++) q[i + 32 * k] = ((four >> (2 * k)) & 3) - 1
        }
      d[block] = readHalf(bytes, at + 64)
    }
    return codes
  },

  encode(codes) {
    const { d, q } = codes
    const blocks = blocksOfCodes(TQ2_0, codes)
    const bytes = new Uint8Array(66 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 66) {
      for (let half = 0; half < 2; half++)
        for (let l = 0; l < 32; l++) {
          const i = 256 * block + 128 * half + l
          for (let k = 0; k < 4; k++) bytes[at + 32 * half + l] |= (q[i + 32 * k] + 1) << (2 * k)
        }
      writeHalf(bytes, at + 64, d[block])
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 256),

  ...learnScaled(256, [-1, 1]),
}
