/**
 * F16: IEEE half precision, 2 bytes a weight. Encoding rounds to the nearest f16, so every value comes back as it was
 * except a NaN, which becomes ggml's one quiet NaN (0x7E00, with its sign).
 */
import { blocksOfBytes, blocksOfCodes } from '../blocks.js'
import type { Format } from '../format.js'
import { floatsToHalves, halvesOf, halvesToFloats } from '../half.js'

export const F16: Format = {
  type: 1,
  name: 'F16',
  blockSize: 1,
  blockBytes: 2,
  fields: { w: 1 },

  decode(bytes) {
    const stored = halvesOf(bytes, blocksOfBytes(F16, bytes))
    return { w: halvesToFloats(stored) }
  },

  encode(codes) {
    blocksOfCodes(F16, codes)
    return new Uint8Array(floatsToHalves(codes.w).buffer)
  },

  dequantize: ({ w }) => w,
}
