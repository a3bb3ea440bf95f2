/**
 * MXFP4: 32 weights in 17 bytes (4.25 bits a weight), w = d * q with d a power of two and q a float of four bits (OCP Microscaling
 * Formats 1.0). As in ggml, d is half the stored scale and q is doubled.
 *
 *   0   d as E8M0 (byte-floats.ts)
 *   1   16 bytes of q as E2M1 (nibble-tables.ts)
 *
 * Canonical is q = 0 without a sign. A d of 255, which the standard has as NaN, is read as ggml reads it and never made.
 */
import { blocksOfBytes, blocksOfCodes, emptyCodes } from '../blocks.js'
import { E8M0 } from '../byte-floats.js'
import type { Format } from '../format.js'
import { dequantizeScaled } from '../grids.js'
import { learnScaled } from '../learned.js'
import { e2m1, packLevels, unpackLevels } from '../nibble-tables.js'

/** `q` is one of 0, 1, 2, 3, 4, 6, 8, 12 with either sign. */
export const MXFP4: Format = {
  type: 39,
  name: 'MXFP4',
  blockSize: 32,
  blockBytes: 17,
  fields: { d: 1, q: 32 },

  decode(bytes) {
    const blocks = blocksOfBytes(MXFP4, bytes)
    const codes = emptyCodes(MXFP4, blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 17) {
      codes.d[block] = E8M0.halves[bytes[at]]
      unpackLevels(e2m1, bytes, at + 1, codes.q, 32 * block, 32)
    }
    return codes
  },

  encode(codes) {
    const blocks = blocksOfCodes(MXFP4, codes)
    const bytes = new Uint8Array(17 * blocks)
    for (let block = 0, at = 0; block < blocks; block++, at += 17) {
      bytes[at] = E8M0.byteOf(codes.d[block])
      packLevels(e2m1, bytes, at + 1, codes.q, 32 * block, 32)
    }
    return bytes
  },

  dequantize: (codes) => dequantizeScaled(codes, 32),

  ...learnScaled(32, e2m1.levels, { as: 'listed', values: E8M0.numbers }),
}
