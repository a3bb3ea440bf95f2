/**
 * TQ1_0: 256 weights in 54 bytes (1.6875 bits a weight), w = d * q with q in -1..1.
 *
 *   0   32 bytes: byte l holds q of weights l, l + 32, l + 64, l + 96, l + 128
 *   32  16 bytes: byte l holds q of weights l + 160, l + 176, l + 192, l + 208, l + 224
 *   48  4 bytes: byte l holds q of weights l + 240, l + 244, l + 248, l + 252
 *   52  f16 d
 *
 * The q + 1 of a byte are the digits of a number of base 3, the first the most significant of five. The byte is that number, as a
 * fraction of 3^5, as a fraction of 256, rounded up. So digits come out without a division: times three, each is what overflows.
 * Of the bytes that no number gives, which ggml reads as others do, none is canonical.
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnScaled } from '../learned.js'
import { Q4_0 } from './q4_0.js'

/** Runs of bytes: where they begin in a block and how many they are, their first weight, and the weights of a byte. */
const runs = [
  { at: 0, bytes: 32, first: 0, digits: 5 },
  { at: 32, bytes: 16, first: 160, digits: 5 },
  { at: 48, bytes: 4, first: 240, digits: 4 },
] as const

/** `q` is -1..1. */
export const TQ1_0: Format = {
  type: 34,
  name: 'TQ1_0',
  blockSize: 256,
  blockBytes: 54,
  fields: { d: 1, q: 256 },
  smaller: Q4_0.type,

  decode(bytes) {
    const blocks = blocksOfBytes(TQ1_0, bytes)
    const codes = emptyCodes(TQ1_0, blocks)
    const { d, q } = codes
    for (let block = 0, start = 0; block < blocks; block++, start += 54) {
      for (const run of runs)
        for (let l = 0; l < run.bytes; l++) {
          let rest = bytes[start + run.at + l]
          const i = 256 * block + run.first + l
          for (let digit = 0; digit < run.digits; digit++) {
            q[i + digit * run.bytes] = ((3 * rest) >> 8) - 1
            rest = (3 * rest) & 255
          }
        }
      d[block] = readHalf(bytes, start + 52)
    }
    return codes
  },

  encode(codes) {
    const { d, q } = codes
    const blocks = blocksOfCodes(TQ1_0, codes)
    const bytes = new Uint8Array(54 * blocks)
    for (let block = 0, start = 0; block < blocks; block++, start += 54) {
      for (const run of runs)
        for (let l = 0; l < run.bytes; l++) {
          const i = 256 * block + run.first + l
          let number = 0
          for (let digit = 0; digit < 5; digit++)
            number = 3 * number + (digit < run.digits ? q[i + digit * run.bytes] + 1 : 0)
          bytes[start + run.at + l] = Math.ceil((256 * number) / 243)
        }
      writeHalf(bytes, start + 52, d[block])
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 256),

  ...learnScaled(256, [-1, 1]),
}
