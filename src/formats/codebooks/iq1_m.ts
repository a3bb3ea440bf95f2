/**
 * IQ1_M: 256 weights in 56 bytes (1.75 bits a weight), 16 groups of 16, w = d * scale * q with eight q from 2048 entries, to all of which
 * one eighth is added or subtracted (ternary.ts).
 *
 *   0    32 bytes: the lower eight bits of the number of the entry of each eight weights
 *   32   half a byte for each eight weights, the lower half first: the upper three bits of the number, and a bit that is set where one
 *        eighth is subtracted
 *   48   four little-endian numbers of 16 bits: for each of four groups, lowest bits first, 3 bits s of scale = (2 s + 1) / 8; then four bits
 *        of the f16 d, the lowest ones in the first number
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeGrouped } from '../grids.js'
import { floatToHalf, halfToFloat } from '../half.js'
import { IQ4_NL } from '../types/iq4_nl.js'
import { ternaryLayout, ternaryNumberOf, unpackTernary } from './ternary.js'

/** `scales` are (2 s + 1) / 8 with s from 0 to 7, `q` is 1, -7 or 9 in some vectors of eight and -1, 7 or -9 in others. */
export const IQ1_M: Format = {
  type: 29,
  name: 'IQ1_M',
  blockSize: 256,
  blockBytes: 56,
  fields: { d: 1, scales: 16, q: 256 },
  smaller: IQ4_NL.type,

  decode(bytes) {
    const blocks = blocksOfBytes(IQ1_M, bytes)
    const codes = emptyCodes(IQ1_M, blocks)
    const { d, scales, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 56) {
      let half = 0
      for (let four = 0; four < 4; four++) {
        const packed = bytes[at + 48 + 2 * four] | (bytes[at + 49 + 2 * four] << 8)
        half |= (packed >> 12) << (4 * four)
        for (let group = 0; group < 4; group++)
          scales[16 * block + 4 * four + group] = (2 * ((packed >> (3 * group)) & 7) + 1) / 8
      }
      d[block] = halfToFloat(half)
      for (let vector = 0; vector < 32; vector++) {
        const upper = (bytes[at + 32 + (vector >> 1)] >> (4 * (vector & 1))) & 15
        unpackTernary(bytes[at + vector] | (upper << 8), q, 256 * block + 8 * vector)
      }
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(IQ1_M, codes)
    const bytes = new Uint8Array(56 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 56) {
      const half = floatToHalf(d[block])
      for (let four = 0; four < 4; four++) {
        let packed = ((half >> (4 * four)) & 15) << 12
        for (let group = 0; group < 4; group++)
          packed |= (4 * scales[16 * block + 4 * four + group] - 0.5) << (3 * group)
        bytes[at + 48 + 2 * four] = packed & 255
        bytes[at + 49 + 2 * four] = packed >> 8
      }
      for (let vector = 0; vector < 32; vector++) {
        const number = ternaryNumberOf(q, 256 * block + 8 * vector)
        bytes[at + vector] = number & 255
        bytes[at + 32 + (vector >> 1)] |= (number >> 8) << (4 * (vector & 1))
      }
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 16),

  vectors: ternaryLayout(16, 1),
}
