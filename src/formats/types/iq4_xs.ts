/**
 * IQ4_XS: 256 weights in 136 bytes (4.25 bits a weight), 8 groups of 32, w = d * scale * q with q one of the 16 levels of IQ4_NL.
 *
 *   0   f16 d
 *   2   2 bytes of upper bits: two bits of scale + 32 of each group, in a little-endian number, lowest bits first
 *   4   4 bytes of lower bits: byte j holds four bits of scale + 32 of group 2 j in its lower and of group 2 j + 1 in its upper half
 *   8   128 bytes of the numbers of q in the table, 16 for each group (nibble-tables.ts)
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeGrouped } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { learnGrouped } from '../learned.js'
import { iq4nl, packLevels, unpackLevels } from '../nibble-tables.js'
import { IQ4_NL } from './iq4_nl.js'

/** `scales` are -32..31, `q` is one of the levels. */
export const IQ4_XS: Format = {
  type: 23,
  name: 'IQ4_XS',
  blockSize: 256,
  blockBytes: 136,
  fields: { d: 1, scales: 8, q: 256 },
  smaller: IQ4_NL.type,

  decode(bytes) {
    const blocks = blocksOfBytes(IQ4_XS, bytes)
    const codes = emptyCodes(IQ4_XS, blocks)
    const { d, scales, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 136) {
      d[block] = readHalf(bytes, at)
      for (let group = 0; group < 8; group++) {
        const low = (bytes[at + 4 + (group >> 1)] >> (4 * (group & 1))) & 15
        const high = (bytes[at + 2 + (group >> 2)] >> (2 * (group & 3))) & 3
        scales[8 * block + group] = (low | (high << 4)) - 32
        unpackLevels(iq4nl, bytes, at + 8 + 16 * group, q, 256 * block + 32 * group, 32)
      }
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(IQ4_XS, codes)
    const bytes = new Uint8Array(136 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 136) {
      writeHalf(bytes, at, d[block])
      for (let group = 0; group < 8; group++) {
        const s = scales[8 * block + group] + 32
        bytes[at + 4 + (group >> 1)] |= (s & 15) << (4 * (group & 1))
        bytes[at + 2 + (group >> 2)] |= (s >> 4) << (2 * (group & 3))
        packLevels(iq4nl, bytes, at + 8 + 16 * group, q, 256 * block + 32 * group, 32)
      }
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 32),

  ...learnGrouped(32, iq4nl.levels, [-32, 31]),
}
