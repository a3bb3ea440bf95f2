/**
 * IQ4_NL: 32 weights in 18 bytes (4.5 bits a weight), w = d * q with q one of 16 levels that lie closer where weights are many.
 *
 *   0   f16 d
 *   2   16 bytes of the numbers of q in the table (nibble-tables.ts)
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnScaled } from '../learned.js'
import { iq4nl, packLevels, unpackLevels } from '../nibble-tables.js'

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
    for (let block = 0, at = 0; block < blocks; block++, at += 18) {
      codes.d[block] = readHalf(bytes, at)
      unpackLevels(iq4nl, bytes, at + 2, codes.q, 32 * block, 32)
    }
    return codes
  },

  encode(codes) {
    const blocks = blocksOfCodes(IQ4_NL, codes)
    const bytes = new Uint8Array(18 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 18) {
      writeHalf(bytes, at, codes.d[block])
      packLevels(iq4nl, bytes, at + 2, codes.q, 32 * block, 32)
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 32),

  ...learnScaled(32, iq4nl.levels),
}
