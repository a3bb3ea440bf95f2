/**
 * BF16: the upper 16 bits of an f32, 2 bytes a weight. Encoding rounds to the nearest, so every value comes back as it
 * was except a signalling NaN, which becomes quiet.
 */
import { blocksOfBytes, blocksOfCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { bfloatsToFloats, floatsToBfloats, halvesOf } from '../half.js'

export const BF16: Format = {
  type: 30,
  name: 'BF16',
  blockSize: 1,
  blockBytes: 2,
  fields: { w: 1 },

  decode(bytes) {
    const stored = halvesOf(bytes, blocksOfBytes(BF16, bytes))
    return { w: bfloatsToFloats(stored) }
  },

  encode(codes) {
    blocksOfCodes(BF16, codes)
    return new Uint8Array(floatsToBfloats(codes.w).buffer)
  },

  dequantize: ({ w }) => w,
}
