/** F32: 4 bytes a weight, little-endian. Nothing is rounded; even NaN payloads survive. */
import { blocksOfBytes, blocksOfCodes } from '../blocks.js'
import type { Format } from '../format.js'

export const F32: Format = {
  type: 0,
  name: 'F32',
  blockSize: 1,
  blockBytes: 4,
  fields: { w: 1 },

  decode(bytes) {
    const w = new Float32Array(blocksOfBytes(F32, bytes))
    new Uint8Array(w.buffer).set(bytes)
    return { w }
  },

  encode(codes) {
    const bytes = new Uint8Array(4 * blocksOfCodes(F32, codes))
    bytes.set(new Uint8Array(codes.w.buffer, codes.w.byteOffset, bytes.length))
    return bytes
  },

  dequantize: ({ w }) => w,
}
