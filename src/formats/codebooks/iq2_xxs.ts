/**
 * IQ2_XXS: 256 weights in 66 bytes (2.0625 bits a weight), 8 groups of 32, w = d * scale * q with the magnitudes of eight q from 256 entries.
 *
 *   0   f16 d
 *   2   8 bytes for each group: 4 numbers of entries; then, in a little-endian number, four times seven signs, lowest bits first,
 *       and 4 bits s of scale = (s + 1/2) / 4
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeGrouped } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { IQ4_NL } from '../types/iq4_nl.js'
import { CodebookCodec, setSigns, sevenSignsOf, sixteenScales, withLastSign } from './codebook.js'

/** The entries, as libggml's dequantizer has them. */
const codec = new CodebookCodec(
  [8, 25, 43],
  8,
  'AAACAAUACAAKABEAFAAgACIAKAAqAEEARABQAFgAYQBkAIAAggCKAKIAAQEEARABFQFAAYQBmAEAAgICIgKCAgEEBAQQBCEEJARABEIESARgBIEEhASQBKQEAAUCBQgFIAVGBWkFgAWRBQkGEAZABoQGpAYACAUICAgUCCgIQQhECFAIUgiICAQJQAkCChQKARAEEBAQIRBAEGAQhBCQEJUQABEIESARUBFaEYARJBJFEgAUCBQgFCUUSRSAFBgVYhUAFhYWARgEGBAYQBiBGAAZBRmgGVEaACACIAogRCBhIIAggiApIUghACICIgEkBCQQJEAkViQAJUElZCWQJggoICiUKEQqAUAEQBBAGEAhQCRAQEBIQFZAYECBQIRAkEAAQSBBYUGAQYVBAUIQQkhCVkJoQgBECEQgRIBEmUQSRSRFAEYBSARIEEhASEVIAElYSWFJgklFSpBKAFAIUBFQGVAgUIBQiFAEUUJRpFGRUpBUklQKVQFWVFYAWBFYGVhkWEBZCFoEYBBgQGBoYABhVWEYYmBiAGQFZBBlEmWEZUJoAIACgAqAQYCCgASBGIFAgRGCAYQEhBCEFYRAhGCEAIVGhZSFCYZAhmCGAogEiRGKBJAQkCSQQJChkBaRgJFFkgCUIpRElFGVgZggmQKgUKCFoAmhAKIYpFCoBKk=',
  { evenSigns: true },
)

/** `scales` are 1/8 + s / 4 with s from 0 to 15, `q` is +-8, +-25 or +-43. */
export const IQ2_XXS: Format = {
  type: 16,
  name: 'IQ2_XXS',
  blockSize: 256,
  blockBytes: 66,
  fields: { d: 1, scales: 8, q: 256 },
  smaller: IQ4_NL.type,

  decode(bytes) {
    const blocks = blocksOfBytes(IQ2_XXS, bytes)
    const codes = emptyCodes(IQ2_XXS, blocks)
    const { d, scales, q } = codes
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let block = 0, at = 0; block < blocks; block++, at += 66) {
      d[block] = readHalf(bytes, at)
      for (let group = 0; group < 8; group++) {
        const from = at + 2 + 8 * group
        const packed = view.getUint32(from + 4, true)
        scales[8 * block + group] = 0.125 + 0.25 * (packed >>> 28)
        for (let vector = 0; vector < 4; vector++) {
          const i = 256 * block + 32 * group + 8 * vector
          codec.unpack(bytes[from + vector], q, i)
          setSigns(withLastSign((packed >>> (7 * vector)) & 127), q, i)
        }
      }
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(IQ2_XXS, codes)
    const bytes = new Uint8Array(66 * blocks)
    const view = new DataView(bytes.buffer)
    for (let block = 0, at = 0; block < blocks; block++, at += 66) {
      writeHalf(bytes, at, d[block])
      for (let group = 0; group < 8; group++) {
        const to = at + 2 + 8 * group
        let packed = (4 * (scales[8 * block + group] - 0.125)) << 28
        for (let vector = 0; vector < 4; vector++) {
          const i = 256 * block + 32 * group + 8 * vector
          bytes[to + vector] = codec.numberOf(q, i)
          packed |= sevenSignsOf(q, i) << (7 * vector)
        }
        view.setUint32(to + 4, packed, true)
      }
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 32),

  vectors: codec.layout(32, sixteenScales(0.125, 0.25)),
}
