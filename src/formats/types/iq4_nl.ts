/**
 * IQ4_NL: 32 weights in 18 bytes (4.5 bits a weight), w = d * q with q one of 16 levels that lie closer where weights are many.
 *
 *   0   f16 d
 *   2   16 bytes: byte j holds the number of q[j] in the table in its lower and that of q[j + 16] in its upper half
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnScaled } from '../learned.js'
import { tableOf } from '../levels.js'

/** As ggml has them (kvalues_iq4nl in ggml-common.h). */
const levels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
const numberOf = new Map(levels.map((level, i) => [level, i]))

/** `q` is one of the levels. */
export const IQ4_NL: Format = {
  type: 20,
  name: 'IQ4_NL',
  blockSize: 32,
  blockBytes: 18,
  fields: { d: 1, q: 32 },

  decode(bytes) {
    const blocks = blocksOfBytes(IQ4_NL, bytes)
    const codes = emptyCodes(IQ4_NL, blocks)
    const { d, q } = codes
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 18, i += 32) {
      d[block] = readHalf(bytes, at)
      for (let j = 0; j < 16; j++) {
        const pair = bytes[at + 2 + j]
        q[i + j] = levels[pair & 15]
        q[i + j + 16] = levels[pair >> 4]
      }
    }
    return codes
  },

  encode(codes) {
    const { d, q } = codes
    const blocks = blocksOfCodes(IQ4_NL, codes)
    const bytes = new Uint8Array(18 * blocks)
    const number = (i: number): number => numberOf.get(q[i]) ?? 0
    for (let block = 0, at = 0, i = 0; block < blocks; block++, at += 18, i += 32) {
      writeHalf(bytes, at, d[block])
      for (let j = 0; j < 16; j++) bytes[at + 2 + j] = number(i + j) | (number(i + j + 16) << 4)
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 32),

  ...learnScaled(32, tableOf(...levels)),
}
