/**
 * IQ2_XS: 256 weights in 74 bytes (2.3125 bits a weight), 16 groups of 16, w = d * scale * q with the magnitudes of eight q from 512 entries.
 *
 *   0    f16 d
 *   2    2 bytes for each eight weights: in a little-endian number, 9 bits of the number of the entry, then seven signs
 *   66   8 bytes of scales, (s + 1/2) / 4: byte j holds s of group 2 j in its lower and of group 2 j + 1 in its upper half
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
  'AAACAAUACAAKABEAFAAWABkAIAAiACUAKABBAEQARgBJAFAAUgBVAFgAYQBkAIAAggCFAIgAkQCUAJkAoAABAQQBBgEJARABEgEVARgBGgEhASQBQAFCAUUBSAFRAVQBYAFoAYEBhAGQAQACAgIFAggCEQIUAiACQQJEAlACVQKAAooCAQQEBAYECQQQBBIEFQQYBCEEJARABEIERQRIBFEEVARWBGAEgQSEBJAEAAUCBQUFCAURBRQFIAVBBUQFUAVhBYAFAQYEBhAGJgZABkIGhAYACAIIBQgICAoIEQgUCCAIJQhBCEQIUAhYCIAIoAiqCAEJBAkQCUAJgQmJCQAKIAooCpYKoAoBEAQQBhAJEBAQEhAVEBgQIRAkEEAQQhBFEEgQURBUEGAQahCBEIQQkBAAEQIRBREIERERFBEgEUERRBFQEYARlBGWEQESBBIGEhASQBJgEgAUAhQFFAgUERQUFCAUQRREFEkUUBRkFIAUARUEFRAVQBUAFhQWSRYBGAQYEBgSGEAYVBiGGAAZBRlmGVEaqRoAIAIgBSAIIAogESAUICAgQSBEIFAggCCgIAEhBCEQIUAhSCFlIQAiIiKAIqgiASQEJBAkKSRAJAAlQSVSJZklASYaJqYmACgIKAooIChVKIgooihoKZApCCogKoIqiCqKKgFABEAGQAlAEEASQBVAGEAhQCRAQEBCQEVASEBKQFFAVEBgQGVAgUCEQJBAAEECQQVBCEERQRRBIEFBQURBUEGAQYVBokEBQgRCEEISQilCQEIARAJEBUQIRBFEFEQZRCBEQURERFBEgESURAFFBEUQRSRFQEWaRQBGCkZERlBGAUgESBBIQEhFSFRIYkgASRFJRElQSWlJBEoAUAJQBVAIUBFQFFAgUChQQVBEUFBQgFABUQRREFEVUUBRQlEAUkRSqlIBVARUEFQhVEBUYFSBVKFUAFUIVYBViFUhVmhWoVYAWBRYQVhQWJlYGllAWUJZhVoBYARgEGBAYFRgYmCGYKlgAGEkYkpikmIAZBZkEGVAZUVlpGUBaGpoJWkGalRqYmoAgAKABYAIgBGAFIAggCqAQYBEgFCAgICCgKiAqoABgQSBBoEQgUCBUYFZgQCCIIKAgoKCoIKoggGEBIQQhBKEFYRAhGCEiYQAhUSFpYUYhmqGAIgIiCWIWoiAiIKIqIgGiSKKgIqIipaKqIoBkASQEJBAkFaQhJAAkSKRZJFWkomSAJQFlESUUJRYlCmVkJWSlUGWUZimmEmZFZpgmgCgAqAIoAqgIKAqoKCgUaFZoaahAKICogiiKqKAoqCiQKSVpGWmmKYKqCCoIqgoqKCoqKgEqYSphqkoqiqqkaqqqg==',
  { evenSigns: true },
)

/** `scales` are 1/8 + s / 4 with s from 0 to 15, `q` is +-8, +-25 or +-43. */
export const IQ2_XS: Format = {
  type: 17,
  name: 'IQ2_XS',
  blockSize: 256,
  blockBytes: 74,
  fields: { d: 1, scales: 16, q: 256 },
  smaller: IQ4_NL.type,

  decode(bytes) {
    const blocks = blocksOfBytes(IQ2_XS, bytes)
    const codes = emptyCodes(IQ2_XS, blocks)
    const { d, scales, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 74) {
      d[block] = readHalf(bytes, at)
      for (let group = 0; group < 16; group++)
        scales[16 * block + group] =
          0.125 + 0.25 * ((bytes[at + 66 + (group >> 1)] >> (4 * (group & 1))) & 15)
      for (let vector = 0; vector < 32; vector++) {
        const i = 256 * block + 8 * vector
        const packed = bytes[at + 2 + 2 * vector] | (bytes[at + 3 + 2 * vector] << 8)
        codec.unpack(packed & 511, q, i)
        setSigns(withLastSign(packed >> 9), q, i)
      }
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(IQ2_XS, codes)
    const bytes = new Uint8Array(74 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 74) {
      writeHalf(bytes, at, d[block])
      for (let group = 0; group < 16; group++)
        bytes[at + 66 + (group >> 1)] |= (4 * (scales[16 * block + group] - 0.125)) << (4 * (group & 1))
      for (let vector = 0; vector < 32; vector++) {
        const i = 256 * block + 8 * vector
        const packed = codec.numberOf(q, i) | (sevenSignsOf(q, i) << 9)
        bytes[at + 2 + 2 * vector] = packed & 255
        bytes[at + 3 + 2 * vector] = packed >> 8
      }
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 16),

  vectors: codec.layout(16, sixteenScales(0.125, 0.25)),
}
