/**
 * NVFP4: 64 weights in 36 bytes (4.5 bits a weight), 4 groups of 16, w = d * q with d a float of seven bits and q one of four. As in
 * ggml, d is half the stored scale and q is doubled.
 *
 *   0   4 bytes of d as UE4M3, one for each group (byte-floats.ts)
 *   4   32 bytes of q as E2M1, 8 for each group (nibble-tables.ts)
 *
 * With the scale of a tensor, a power of two, d is that times as large, and so are the weights; the bytes are the same.
 *
 * Canonical is q = 0 without a sign, d = 0 as byte 0, and d without an eighth bit.
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import { UE4M3 } from '../byte-floats.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { learnScaled } from '../learned.js'
import { e2m1, packLevels, unpackLevels } from '../nibble-tables.js'
import { IQ4_NL } from './iq4_nl.js'

/** `q` is one of 0, 1, 2, 3, 4, 6, 8, 12 with either sign. */
function nvfp4(tensorScale?: number): Format {
  const scale = tensorScale ?? 1
  const format: Format = {
    type: 40,
    name: 'NVFP4',
    blockSize: 64,
    blockBytes: 36,
    fields: { d: 4, q: 64 },
    smaller: IQ4_NL.type,
    ...(tensorScale !== undefined && { tensorScale }),

    withTensorScale: nvfp4,

    decode(bytes) {
      const blocks = blocksOfBytes(format, bytes)
      const codes = emptyCodes(format, blocks)
      for (let block = 0, at = 0; block < blocks; block++, at += 36)
        for (let group = 0; group < 4; group++) {
          codes.d[4 * block + group] = scale * UE4M3.halves[bytes[at + group]]
          unpackLevels(e2m1, bytes, at + 4 + 8 * group, codes.q, 64 * block + 16 * group, 16)
        }
      return codes
    },

    encode(codes) {
      const blocks = blocksOfCodes(format, codes)
      const bytes = new Uint8Array(36 * blocks)
      for (let block = 0, at = 0; block < blocks; block++, at += 36)
        for (let group = 0; group < 4; group++) {
          bytes[at + group] = UE4M3.byteOf(codes.d[4 * block + group] / scale)
          packLevels(e2m1, bytes, at + 4 + 8 * group, codes.q, 64 * block + 16 * group, 16)
        }
      return bytes
    },

    dequantize: (codes) => dequantizeScaled(codes, 16),

    ...learnScaled(16, e2m1.levels, { as: 'listed', values: UE4M3.numbers.map((number) => scale * number) }),
  }
  return format
}

export const NVFP4 = nvfp4()
