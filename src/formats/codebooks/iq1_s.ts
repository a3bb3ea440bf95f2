/**
 * IQ1_S: 256 weights in 50 bytes (1.5625 bits a weight), 8 groups of 32, w = d * scale * q with eight q from 2048 entries, to all of which
 * in a group one eighth is added or subtracted (ternary.ts).
 *
 *   0    f16 d
 *   2    32 bytes: the lower eight bits of the number of the entry of each eight weights
 *   34   2 bytes for each group: in a little-endian number, four times the upper three bits of a number, lowest bits first, 3 bits s of
 *        scale = (2 s + 1) / 8, and a bit that is set where one eighth is subtracted
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeGrouped } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { IQ4_NL } from '../types/iq4_nl.js'
import { ternaryLayout, ternaryNumberOf, unpackTernary } from './ternary.js'

/** `scales` are (2 s + 1) / 8 with s from 0 to 7, `q` is 1, -7 or 9 in some groups and -1, 7 or -9 in others. */
export const IQ1_S: Format = {
  type: 19,
  name: 'IQ1_S',
  blockSize: 256,
  blockBytes: 50,
  fields: { d: 1, scales: 8, q: 256 },
  smaller: IQ4_NL.type,

  decode(bytes) {
    const blocks = blocksOfBytes(IQ1_S, bytes)
    const codes = emptyCodes(IQ1_S, blocks)
    const { d, scales, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 50) {
      d[block] = readHalf(bytes, at)
      for (let group = 0; group < 8; group++) {
        const from = at + 34 + 2 * group
        const packed = bytes[from] | (bytes[from + 1] << 8)
        scales[8 * block + group] = (2 * ((packed >> 12) & 7) + 1) / 8
        const part = (packed >> 15) << 11
        for (let vector = 0; vector < 4; vector++) {
          const upper = ((packed >> (3 * vector)) & 7) << 8
          const lower = bytes[at + 2 + 4 * group + vector]
          unpackTernary(lower | upper | part, q, 256 * block + 32 * group + 8 * vector)
        }
      }
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(IQ1_S, codes)
    const bytes = new Uint8Array(50 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 50) {
      writeHalf(bytes, at, d[block])
      for (let group = 0; group < 8; group++) {
        const i = 256 * block + 32 * group
        const part = ternaryNumberOf(q, i) >> 11
        let packed = (part << 15) | ((4 * scales[8 * block + group] - 0.5) << 12)
        for (let vector = 0; vector < 4; vector++) {
          const number = ternaryNumberOf(q, i + 8 * vector)
          if (number >> 11 !== part)
            throw new RangeError(`codes ${q.slice(i, i + 32)} have an eighth added and subtracted`)
          bytes[at + 2 + 4 * group + vector] = number & 255
          packed |= ((number >> 8) & 7) << (3 * vector)
        }
        bytes[at + 34 + 2 * group] = packed & 255
        bytes[at + 35 + 2 * group] = packed >> 8
      }
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 32),

  vectors: ternaryLayout(32, 2),
}
