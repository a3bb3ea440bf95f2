/**
 * IQ3_XXS: 256 weights in 98 bytes (3.0625 bits a weight), 8 groups of 32, w = d * scale * q with the magnitudes of four q from 256 entries.
 *
 *   0    f16 d
 *   2    64 numbers of entries
 *   66   4 bytes for each group: in a little-endian number, four times seven signs of eight weights, lowest bits first, and 4 bits s of
 *        scale = (s + 1/2) / 2
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeGrouped } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { IQ4_NL } from '../types/iq4_nl.js'
import { CodebookCodec, setSigns, sevenSignsOf, sixteenScales, withLastSign } from './codebook.js'

/** The entries, as libggml's dequantizer has them. */
const codec = new CodebookCodec(
  [4, 12, 20, 28, 36, 44, 52, 62],
  4,
  'AAACAAQACQALAA8AEAASABkAIgA7AD0AQQBDAEgASgBRAFUAWABaAGEAbAB4AIAAggCEAIkAkACSAJkAmwCfAKkArwC9AMEAxwDIAMoA1QD4AAsBHwEkAS8BOwE9AUEBRwFaAWoBnQG0AcgBzAHOAeMB8QEBAgMCCAIKAhECEwIYAhoCHAInAigCQAJCAkkCUAJSAoECgwKIAooCkQKYAroCwALCAtAC2QLmAvYCAQMFAygDUANUA2YDeQOFA9ID4AMABAIECQQLBBAEEgQWBBkEIgRBBEMERQRIBEoEUQRYBHMEdwR4BIAEggSJBI8EkASSBJ8EoAStBMEEyATMBPgE/AQdBSsFQwVXBWEFfAXBBcMFzgXlBQEGCAYKBhEGEwYoBjUGOgZABkIGUAZZBmQGZgaBBoMGiAaVBqoGugbJBtsGGAcnBzoHQAdGB1IHbQeMB54HswfbB/AHBAgPCB0IHwgrCC8IfAiQCJ8IoAiwCLYIxwjlCAQJKQk0CVUJYwl4CcUJyAnKCdgJCgohCjgKQApGClYKbQqMCpoKugrCCusKCAsTCxcLOgtCC1kLqAvUC+ILFAwkDCYMNAxRDHEMjwy0DNgM3gwkDUUNag2bDcMN0Q0DDgUOBw4IDhoOKg5WDmAOig6lDqoOwA7NDtsO8A4RDyEPQA9CD1QPmA8=',
  { evenSigns: true },
)

/** `scales` are 1/4 + s / 2 with s from 0 to 15, `q` is +-4, +-12, +-20 ... +-52 or +-62. */
export const IQ3_XXS: Format = {
  type: 18,
  name: 'IQ3_XXS',
  blockSize: 256,
  blockBytes: 98,
  fields: { d: 1, scales: 8, q: 256 },
  smaller: IQ4_NL.type,

  decode(bytes) {
    const blocks = blocksOfBytes(IQ3_XXS, bytes)
    const codes = emptyCodes(IQ3_XXS, blocks)
    const { d, scales, q } = codes
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let block = 0, at = 0; block < blocks; block++, at += 98) {
      d[block] = readHalf(bytes, at)
      for (let group = 0; group < 8; group++) {
        const packed = view.getUint32(at + 66 + 4 * group, true)
        scales[8 * block + group] = 0.25 + 0.5 * (packed >>> 28)
        for (let vector = 0; vector < 4; vector++) {
          const i = 256 * block + 32 * group + 8 * vector
          const from = at + 2 + 8 * group + 2 * vector
          codec.unpack(bytes[from], q, i)
          codec.unpack(bytes[from + 1], q, i + 4)
          setSigns(withLastSign((packed >>> (7 * vector)) & 127), q, i)
        }
      }
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(IQ3_XXS, codes)
    const bytes = new Uint8Array(98 * blocks)
    const view = new DataView(bytes.buffer)
    for (let block = 0, at = 0; block < blocks; block++, at += 98) {
      writeHalf(bytes, at, d[block])
      for (let group = 0; group < 8; group++) {
        let packed = (2 * (scales[8 * block + group] - 0.25)) << 28
        for (let vector = 0; vector < 4; vector++) {
          const i = 256 * block + 32 * group + 8 * vector
          const to = at + 2 + 8 * group + 2 * vector
          bytes[to] = codec.numberOf(q, i)
          bytes[to + 1] = codec.numberOf(q, i + 4)
          packed |= sevenSignsOf(q, i) << (7 * vector)
        }
        view.setUint32(at + 66 + 4 * group, packed, true)
      }
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 32),

  vectors: codec.layout(32, sixteenScales(0.25, 0.5)),
}
