/**
 * The two 16-bit floats of GGUF files: f16 (IEEE half: 1 sign, 5 exponent, 10 fraction bits) and bf16 (the upper half
 * of an f32). Node 20 has no Float16Array, so the conversions are here, with ggml's rounding: to nearest, ties to even,
 * overflow to infinity, subnormals kept, every NaN made quiet (f16 keeps nothing of a NaN but its sign).
 *
 * Reading f16 is a table of all 65,536 values; everything else works on the bits of the f32. Arrays go through integer
 * views, so that a NaN is never touched by a float register. Like GGUF itself, all of this is little-endian.
 */

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/** The bits of the f32 equal to each f16. */
const halfTable = new Uint32Array(65536)
const halfTableFloats = new Float32Array(halfTable.buffer)
for (let h = 0; h < 65536; h++) {
  const sign = (h & 0x8000) << 16
  const exponent = (h >> 10) & 31
  const fraction = h & 1023
  if (exponent === 0) halfTableFloats[h] = (sign ? -1 : 1) * fraction * 2 ** -24
  else if (exponent < 31) halfTable[h] = sign | ((exponent + 112) << 23) | (fraction << 13)
  else halfTable[h] = sign | 0x7f800000 | (fraction << 13) | (fraction ? 0x400000 : 0)
}

/** The f16 nearest to the f32 with these bits, as 16 bits. */
function halfOfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const size = bits & 0x7fffffff
  if (size > 0x7f800000) return sign | 0x7e00
  if (size >= 0x477ff000) return sign | 0x7c00 // 65,520 and more: infinity
  if (size >= 0x38800000) return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13)
  // Below 2^-14 halves are multiples of 2^-24, which is also the spacing of f32 just above 0.5: the addition rounds.
  floatBits[0] = size
  float[0] += 0.5
  return sign | (floatBits[0] - 0x3f000000)
}

/** The value of an f16 given as 16 bits. */
export function halfToFloat(half: number): number {
  return halfTableFloats[half]
}

/** The f16 nearest to `value` (rounded to f32 first), as 16 bits. */
export function floatToHalf(value: number): number {
  float[0] = value
  return halfOfBits(floatBits[0])
}

/** The f16 stored at `offset`. */
export function readHalf(bytes: Uint8Array, offset: number): number {
  return halfTableFloats[bytes[offset] | (bytes[offset + 1] << 8)]
}

/** Stores the f16 nearest to `value` at `offset`. */
export function writeHalf(bytes: Uint8Array, offset: number, value: number): void {
  const half = floatToHalf(value)
  bytes[offset] = half
  bytes[offset + 1] = half >> 8
}

/** The first `count` 16-bit numbers of bytes: a view where they are aligned, else a copy. */
export const halvesOf = ({ buffer, byteOffset, byteLength }: Uint8Array, count: number): Uint16Array =>
  byteOffset % 2 === 0
    ? new Uint16Array(buffer, byteOffset, count)
    : new Uint16Array(buffer.slice(byteOffset, byteOffset + byteLength), 0, count)

/** All values of an array of f16, exactly. */
export function halvesToFloats(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(halves.length)
  for (let i = 0; i < bits.length; i++) bits[i] = halfTable[halves[i]]
  return new Float32Array(bits.buffer)
}

/** An array rounded to f16. */
export function floatsToHalves(floats: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = bitsOf(floats)
  const halves = new Uint16Array(floats.length)
  for (let i = 0; i < halves.length; i++) halves[i] = halfOfBits(bits[i])
  return halves
}

/** All values of an array of bf16, exactly. */
export function bfloatsToFloats(bfloats: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(bfloats.length)
  for (let i = 0; i < bits.length; i++) bits[i] = bfloats[i] << 16
  return new Float32Array(bits.buffer)
}

/** An array rounded to bf16. */
export function floatsToBfloats(floats: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = bitsOf(floats)
  const bfloats = new Uint16Array(floats.length)
  for (let i = 0; i < bfloats.length; i++) {
    const u = bits[i]
    const nan = (u & 0x7fffffff) > 0x7f800000
    bfloats[i] = nan ? (u >>> 16) | 64 : (u + 0x7fff + ((u >>> 16) & 1)) >>> 16
  }
  return bfloats
}

function bitsOf(floats: Float32Array): Uint32Array {
  return new Uint32Array(floats.buffer, floats.byteOffset, floats.length)
}
