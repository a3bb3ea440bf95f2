/**
 * IQ3_S: 256 weights in 110 bytes (3.4375 bits a weight), 8 groups of 32, w = d * scale * q with the magnitudes of four q from 512 entries.
 *
 *   0     f16 d
 *   2     64 bytes: the lower eight bits of the number of the entry of each four weights
 *   66    8 bytes: byte j holds the upper bits of numbers 8 j to 8 j + 7, lowest bits first
 *   74    32 bytes: the signs of each eight weights
 *   106   4 bytes of scales, 2 s + 1: byte j holds s of group 2 j in its lower and of group 2 j + 1 in its upper half
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { dequantizeGrouped } from '../grids.js'
import { readHalf, writeHalf } from '../half.js'
import { IQ4_NL } from '../types/iq4_nl.js'
import { CodebookCodec, setSigns, signsOf, sixteenScales } from './codebook.js'

/** The entries, as libggml's dequantizer has them. */
const codec = new CodebookCodec(
  [1, 3, 5, 7, 9, 11, 13, 15],
  4,
  'AAABAAIABQAHAAgACQAKAAwADgAQABEAFQAbACAAIgAlACcAKQArADAAMgA5ADwAPwBAAEEAQgBEAEgASQBNAFAAUwBXAFkAXQBkAHEAdQB6AIAAgQCFAIcAiACLAI4AkQCVAJgAnACiAKUApwCpAKsAuAC7AMMAyQDNANAA0gDZANsA3gDkAOgA6gD3APkA/QAAAQsBDwERARQBGgEgASMBKQE4AUIBRAFQAVIBVgFbAWEBZQFnAXYBewGGAYkBiwGZAaoBuQHAAcIBxAHQAdIB1gHbAegB7AEAAgECAgIEAggCCQILAg0CDwIQAhICGQIcAh4CLAIuAjECOgJAAkECQwJGAkgCTAJRAlgCWwJhAmgCagJ4An4CgAKKAo0CjwKQApQCmgKgAqMCrQKwAroCwQLEAscCyALLAtEC1wLYAtwC4QLyAvgCAwMFAwoDDAMZAxsDIgMmAygDLANBA0gDSwNRA1gDWgNpA5ADlAOXA6QDpgPBA8MDyAPKA9ED3QPhA/ID+AMABAEEAwQFBAcECAQKBAwEDgQRBBMEFwQYBBoEIQQjBCUEKAQqBDcEOAQ7BD0EQARCBEgESwRPBFIEVQRZBFwEYgRpBIEEhASHBJEEkwSYBJ8EoQSrBK8EuQS8BMAEwgTFBMkE0gTUBNkE2wTiBOgE9gQBBQcFEAUTBRoFHQUhBToFPQVEBUkFUgVfBWAFawV4BYAFggWHBZEFrQWxBcUFyQXWBdgF4wXoBQIGCQYLBg0GDwYSBhkGGwYdBiIGJAYnBikGMwY5BkEGQwZFBkwGUQZTBmAGcAZ6Bn4GgAaKBpAGmgacBqgGwQbIBswG0QbTBtcG2AbhBuMG5wbtBvsGAwcJBw4HEgcZByoHMAc0B0EHSAdKB1UHWgdkB24HeweOB6EHwQfDB9AH0gfdBwAIBAgKCBAIFAgXCBoIIQgoCDgIQghHCEkISwhSCFgIXQhjCGkIbQiBCIMIiAiNCJEImwigCK8Isgi4CMQIyQjLCNAI0gjZCN0IAAkCCRQJHwkgCTkJRQlHCVEJcgmLCZwJsAnICc0J2AnjCekJAgoICgwKEgogCiQKJwoqCjYKPApBCkMKRQpKClEKWgp6CoAKiQqTCpgKngqrCsIKxwrICtcK5ArpCvUK+woBCwQLEAsaCyYLSgtWC2kLawuiC8ILxAvSCwkMCwwNDBkMGwwwDEAMUAxXDHQMigycDKIMrQyyDLgMwAzMDNEM4AwVDSMNMg1ADUMNXA1wDYUNoA3JDcsNAA4EDgcOEA4SDh4OIA4sDjIOQg5JDlQOYw5lDoEOhA6IDo4OkQ6YDqkOwg7aDt0O6w4BDwUPCw8QDygPUg9iD4IPmQ/ADw==',
  { evenSigns: false },
)

/** `scales` are 2 s + 1 with s from 0 to 15, `q` is +-1, +-3 ... +-15. */
export const IQ3_S: Format = {
  type: 21,
  name: 'IQ3_S',
  blockSize: 256,
  blockBytes: 110,
  fields: { d: 1, scales: 8, q: 256 },
  smaller: IQ4_NL.type,

  decode(bytes) {
    const blocks = blocksOfBytes(IQ3_S, bytes)
    const codes = emptyCodes(IQ3_S, blocks)
    const { d, scales, q } = codes
    for (let block = 0, at = 0; block < blocks; block++, at += 110) {
      d[block] = readHalf(bytes, at)
      for (let group = 0; group < 8; group++)
        scales[8 * block + group] = 1 + 2 * ((bytes[at + 106 + (group >> 1)] >> (4 * (group & 1))) & 15)
      for (let vector = 0; vector < 64; vector++) {
        const upper = (bytes[at + 66 + (vector >> 3)] >> (vector & 7)) & 1
        codec.unpack(bytes[at + 2 + vector] | (upper << 8), q, 256 * block + 4 * vector)
      }
      for (let eight = 0; eight < 32; eight++) setSigns(bytes[at + 74 + eight], q, 256 * block + 8 * eight)
    }
    return codes
  },

  encode(codes) {
    const { d, scales, q } = codes
    const blocks = blocksOfCodes(IQ3_S, codes)
    const bytes = new Uint8Array(110 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 110) {
      writeHalf(bytes, at, d[block])
      for (let group = 0; group < 8; group++)
        bytes[at + 106 + (group >> 1)] |= ((scales[8 * block + group] - 1) / 2) << (4 * (group & 1))
      for (let vector = 0; vector < 64; vector++) {
        const number = codec.numberOf(q, 256 * block + 4 * vector)
        bytes[at + 2 + vector] = number & 255
        bytes[at + 66 + (vector >> 3)] |= (number >> 8) << (vector & 7)
      }
      for (let eight = 0; eight < 32; eight++) bytes[at + 74 + eight] = signsOf(q, 256 * block + 8 * eight)
    }
    return bytes
  },

  dequantize: (codes) => dequantizeGrouped(codes, 32),

  vectors: codec.layout(32, sixteenScales(1, 2)),
}
