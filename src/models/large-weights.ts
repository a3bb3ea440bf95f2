/**
 * Finds weights that ruin a model: NaN, infinity, and values so large that the rest of their block rounds to nothing. Only
 * float tensors are read. Exponents are tested, two at once for 16-bit floats: adding `carry` to a large one sets the bit
 * above it.
 */
import { halfToFloat } from '../formats/half.js'
import type { TensorInfo } from '../gguf/header.js'
import type { Gguf } from '../gguf/reader.js'
import { quote } from '../gguf/text.js'
import { ggmlTypes } from '../gguf/types.js'

/** A weight that is NaN, infinite, or larger than any in a trained matrix. */
export interface LargeWeight {
  readonly tensor: TensorInfo
  /** Its index in the tensor, from 0. */
  readonly index: number
  readonly value: number
  /** Root mean square of the other weights of its block of 32; to be called before the next weight is requested. */
  readonly others: () => number
}

/** Magnitude from which a weight is reported. */
const large = 256
const blockWeights = 32
const pieceBytes = 2 ** 22
const runWords = 1024

interface Layout {
  readonly bytes: 2 | 4
  /** Exponent bits in a 32-bit word. */
  readonly mask: number
  readonly carry: number
  readonly value: (bits: number) => number
}

const layouts: Readonly<Record<string, Layout>> = {
  F32: { bytes: 4, mask: 0x7f800000, carry: 0x3c800000, value: floatOf },
  F16: { bytes: 2, mask: 0x7c007c00, carry: 0x24002400, value: halfToFloat },
  BF16: { bytes: 2, mask: 0x7f807f80, carry: 0x3c803c80, value: (bits) => floatOf(bits << 16) },
}

/** Yields the large weights of all float tensors, in file order. */
export async function* largeWeights(gguf: Gguf): AsyncGenerator<LargeWeight> {
  const buffer = new ArrayBuffer(pieceBytes)
  for (const tensor of gguf.tensors) {
    const layout = layouts[ggmlTypes.get(tensor.type)?.name ?? '']
    if (!layout) continue
    for (let start = 0; start < tensor.bytes; start += pieceBytes) {
      const piece = new Uint8Array(buffer, 0, Math.min(pieceBytes, tensor.bytes - start))
      await gguf.readInto(piece, tensor, start)
      for (const { index, ...found } of largeIn(piece, layout))
        yield { tensor, index: start / layout.bytes + index, ...found }
    }
  }
}

/** The first weight that is not finite, as the predicate of a sentence. */
export async function notFinite(gguf: Gguf): Promise<string | undefined> {
  for await (const weight of largeWeights(gguf))
    if (!Number.isFinite(weight.value)) return describeWeight(weight)
  return undefined
}

/** E.g. `its tensor 'blk.2.ffn_down.weight' has NaN as weight 777`. */
export const describeWeight = ({ tensor, index, value }: LargeWeight): string =>
  `its tensor ${quote(tensor.name)} has ${value} as weight ${index}`

function* largeIn(piece: Uint8Array<ArrayBuffer>, layout: Layout): Generator<Omit<LargeWeight, 'tensor'>> {
  const { bytes, value } = layout
  const length = Math.ceil(piece.length / 4)
  const words = new Uint32Array(piece.buffer, 0, length)
  const stored = bytes === 4 ? words : new Uint16Array(piece.buffer, 0, piece.length / 2)
  // An odd number of 16-bit floats ends in the middle of a word.
  if (piece.length % 4 !== 0) words[length - 1] &= 0xffff
  for (let start = 0; start < length; start += runWords) {
    const end = Math.min(start + runWords, length)
    if (!hasLarge(words, start, end, layout)) continue
    for (let index = (start * 4) / bytes; index < Math.min((end * 4) / bytes, stored.length); index++) {
      const found = value(stored[index])
      if (Math.abs(found) < large) continue
      yield { index, value: found, others: () => rmsOfOthers(stored, index, value) }
    }
  }
}

/** One test for many words, since one branch per word takes three times as long. */
function hasLarge(words: Uint32Array, start: number, end: number, { mask, carry }: Layout): boolean {
  let carried = 0
  for (let i = start; i < end; i++) carried |= (words[i] & mask) + carry
  return (carried & 0x80008000) !== 0
}

function rmsOfOthers(stored: Uint16Array | Uint32Array, index: number, value: Layout['value']): number {
  const start = index - (index % blockWeights)
  const others = Array.from(stored.subarray(start, start + blockWeights), value)
  others.splice(index - start, 1)
  return Math.sqrt(others.reduce((sum, x) => sum + x * x, 0) / others.length)
}

function floatOf(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0]
}
