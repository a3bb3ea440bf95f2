/**
 * IQ2_S: 256 weights in 82 bytes (2.5625 bits a weight), 16 groups of 16, w = d * scale * q with the magnitudes of eight q from 1024 entries.
 *
 *   0    f16 d
 *   2    32 bytes: the lower eight bits of the number of the entry of each eight weights
 *   34   32 bytes: the signs of each eight weights
 *   66   8 bytes: byte j holds the upper two bits of numbers 4 j to 4 j + 3, lowest bits first
 *   74   8 bytes of scales, (s + 1/2) / 4: byte j holds s of group 2 j in its lower and of group 2 j + 1 in its upper half
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeGrouped } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { IQ4_NL } from '../types/iq4_nl.js'
import { CodebookCodec, setSigns, signsOf, sixteenScales } from './codebook.js'

/** The entries, as libggml's dequantizer has them. */
const codec = new CodebookCodec(
  [8, 25, 43],
  8,
  'AAACAAUACAAKABEAFAAWABkAIAAiACUAKABBAEQARgBJAFAAUgBVAFgAYQBkAGYAaQCAAIIAhQCIAJEAlACgAKUAqgABAQQBBgEJARABEgEVARgBIQEkAUABQgFFAUgBUQFUAVYBWQFgAWUBaAGBAYQBkAGSAZUBoQGkAQACAgIFAggCEQIUAiACKgJBAkQCRgJJAlACVQKAAoUCigKUAqICAQQEBAYECQQQBBIEFQQYBCEEJAQmBCkEQARCBEUESARKBFEEVARWBFkEYARiBGUEgQSEBIYEiQSQBJUEmAShBKQEAAUCBQUFCAUKBREFFAUWBRkFIAUlBSgFQQVEBUYFSQVQBVIFVQVYBWEFZAWABYIFhQWIBZEFlAWgBQEGBAYGBgkGEAYVBkAGRQZIBlEGVAZgBoEGhAaQBgAIAggFCAgIEQgUCBYIGQggCCUIKghBCEQIRghJCFAIUghVCFgIYQhkCIAIhQiUCKoIAQkECRAJEgkVCRgJIQlACUUJSAlRCVQJYAmBCZAJAAoRChQKIgooCioKUAqZCgEQBBAGEAkQEBASEBUQGBAhECQQJhBAEEIQRRBIEFEQVBBWEFkQYBBiEGUQaBCBEIQQhhCQEJUQmBChEKQQABECEQURCBEKERERFBEWERkRIBEiESURKBFBEUQRRhFJEVARUhFVEVgRYRFkEYARghGFEYgRkRGUEQESBBIJEhASFRIhEiQSQBJFElESVBKBEoQSkBIAFAIUBRQIFBEUFBQWFBkUIBQlFCgUQRREFEYUSRRQFFIUVRRYFGEUZBSAFIIUhRSIFJEUlBSgFAEVBBUGFQkVEBUSFRUVGBUhFSQVQBVCFUUVSBVRFVQVYBWBFYQVkBUAFgUWCBYRFhQWIBZBFkQWUBaAFqoWARgEGAYYCRgQGBUYGBghGEAYQhhFGEgYURhUGGAYgRiEGAAZAhkFGQgZERkUGSAZQRlEGVAZaRmiGQQaEBpAGlYaACACIAUgCCARIBQgFiAZICAgJSAqIEEgRCBQIFIgVSBkIIAgiiCUIKogASEEIRAhEiEVISEhQCFCIUUhUSFUIWAhgSGEIZAhACIKIiIiKCIqIkQiUCKIIooiqCIBJAQkBiQJJBAkFSQYJCEkJCRAJEIkRSRIJFEkVCRgJIEkhCSQJAAlBSUIJRElFCUgJUElRCVQJWYlgCUBJgQmECZAJlkmACgFKBEoFChBKEQoUCiKKKooASkEKRAplSkKKiIqZCqIKooqAUAEQAZACUAQQBJAFUAYQBpAIUAkQCZAQEBCQEVASEBKQFFAVEBWQFlAYEBiQGVAgUCEQJBAlUCYQKFApEAAQQJBBUEIQRFBFEEWQRlBIEEiQSVBQUFEQUZBSUFQQVJBVUFYQWFBZEGAQYJBhUGIQZFBlEGgQQFCBEIQQhJCFUIYQiRCQEJFQkhCUUJUQmBCgUKEQgBEAkQFRAhECkQRRBREFkQZRCBEIkQlRChEQUREREZESURQRFJEVURYRGFEZESARIJEhUSIRJFElESgRAFFBEUGRQlFEEUSRRVFGEUhRSRFQEVCRUVFSEVRRVRFYEVqRYFFhEWQRQBGAkYFRghGEUYURiBGQUZERlBGgEalRgFIBEgJSBBIEkgVSBhIIUgkSEBIQkhFSEhIUUhUSGBIhEiQSABJAkkFSQhJEUkUSSBJQUlESVBJgEmWSQFKBEoQSkBKAFACUAVQCFARUBRQFlAZUCBQIlAlUChQQVBEUEZQSVBQUFJQVVBYUGFQZFCAUIJQhVCIUJFQlFABUQRRBlEJURBRElEVURhRIVEkUUBRQlFFUUhRUVFUUWBRgVGEUZBRAFIFUghSEVIUUiBSQVJEUlBSaVKAUgFUBFQGVAlUEFQSVBVUGFQhVCRUQFRCVEVUSFRRVFRUYFSBVIRUkFQAVQJVBVUIVRFVFFUgVUFVRFVQVYBVAVYEVhBWJlZAVgBYAlgFWAhYEVgUWCBYQVhEWFBYWliAWAFZBFkQWUBZAFoZWoVaqFoBYARgBmAQYBJgFWAYYCFgJGBAYEVgSGBRYFRgYGCEYJBgAGECYQVhCGERYRRhIGFBYURhUGGAYZlhBGIQYkBiVmKhYgBkBWQIZBFkFGQgZEFkRGRQZIBkAWUEZRBlQGVKZWhlkmUAZpRmAWgEaBBoZWiYaABpKmlCaqFqAIACgAWACIARgBSAGYAggCWAQYBEgFCAUoBVgFiAYYCAgIWAkYCUgAGBBIEJgRCBEoEVgRiBIYEkgUCBQoFFgUiBUYFUgYGBhIGQgamBAIIFggqCEYIUgkGCRIJQggGEBIQGhAmEEIQShBWEGIQhhECEQoRFhEiEUYRUhGCEgYSEhJCEAIUChQWFCIURhRSFIIVBhUSFUIWAhYqFAYYEhhCGKYZAhgCIBYgRiBSIQYhEiFCIoogBiQSJQIlliSKKWIpaioKKoooBkASQCZAQkBKQFZAYkCSQQJBCkEWQSJBRkFSQYJCBkISQkJAAkQWREZEUkUGRRJFQkVqRAZIEkhCSQJKmkgCUApQFlAiUEZQUlCCUQZRElFCUgJSWlAGVBJUQlUCVmJWhlQCWRpZklgGYBJgQmCaYQJipmACZSZlSmZCaAKAFoAqgFKAioCqgQaBEoFCgoqCqoEChZaECogqiIqIooiqigqKIooqiqKIBpASkEKRApImkpKQApRmlUaYKqCiooqhUqYapCKoKqiCqIqooqoiqqqo=',
  { evenSigns: false },
)

/** `scales` are 1/8 + s / 4 with s from 0 to 15, `q` is +-8, +-25 or +-43. */
export const IQ2_S: Format = {
  type: 22,
  name: 'IQ2_S',
  blockSize: 256,
  blockBytes: 82,
  fields: { d: 1, scales: 16, q: 256 },
  smaller: IQ4_NL.type,

  decode(bytes) {
    const blocks = blocksOfBytes(IQ2_S, bytes)
    const codes = emptyCodes(IQ2_S, blocks)
    const { d, scales, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 82) {
      d[block] = readHalf(bytes, at)
      for (let group = 0; group < 16; group++)
        scales[16 * block + group] =
          0.125 + 0.25 * ((bytes[at + 74 + (group >> 1)] >> (4 * (group & 1))) & 15)
      for (let vector = 0; vector < 32; vector++) {
        const i = 256 * block + 8 * vector
        const upper = (bytes[at + 66 + (vector >> 2)] >> (2 * (vector & 3))) & 3
        codec.unpack(bytes[at + 2 + vector] | (upper << 8), q, i)
        setSigns(bytes[at + 34 + vector], q, i)
      }
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(IQ2_S, codes)
    const bytes = new Uint8Array(82 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 82) {
      writeHalf(bytes, at, d[block])
      for (let group = 0; group < 16; group++)
        bytes[at + 74 + (group >> 1)] |= (4 * (scales[16 * block + group] - 0.125)) << (4 * (group & 1))
      for (let vector = 0; vector < 32; vector++) {
        const i = 256 * block + 8 * vector
        const number = codec.numberOf(q, i)
        bytes[at + 2 + vector] = number & 255
        bytes[at + 34 + vector] = signsOf(q, i)
        bytes[at + 66 + (vector >> 2)] |= (number >> 8) << (2 * (vector & 3))
      }
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 16),

  vectors: codec.layout(16, sixteenScales(0.125, 0.25)),
}
