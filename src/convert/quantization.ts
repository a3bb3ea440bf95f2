/**
 * Checkpoints whose matrices are stored in 8-bit floats (E4M3) with a scale for each block: weight = stored value * scale, the scales in
 * `NAME_scale_inv` and the block's size in config.json. Any other quantization is refused by its name: it would have to be undone at a loss.
 */
import type { Checkpoint, Fields, StoredTensor } from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import { quote } from '../gguf/index.js'
import { columnsOf, type Rows, storedRows } from './rows.js'

const scaleEnding = '_scale_inv'
const stored8 = 'F8_E4M3'
/** Scales of the activations, which full precision does without. */
const activationScale = /[._]activation_scale$/

/** The value of each byte: sign, 4 bits of exponent with a bias of 7, 3 of fraction; no infinities, and 0x7F is NaN. */
const e4m3 = Float32Array.from({ length: 256 }, (_, byte) => {
  const exponent = (byte >> 3) & 15
  const fraction = byte & 7
  const size = exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7)
  return (byte & 0x80 ? -1 : 1) * ((byte & 0x7f) === 0x7f ? Number.NaN : size)
})

export class Quantization {
  private constructor(
    private readonly checkpoint: Checkpoint,
    /** Rows and columns of a block; undefined: one scale for a matrix. */
    private readonly block: readonly [number, number] | undefined,
    private readonly scaled: ReadonlyMap<string, StoredTensor>,
  ) {}

  /** @throws FileError for a quantization that cannot be undone exactly */
  static async of(checkpoint: Checkpoint, config: Fields): Promise<Quantization> {
    const settings = config.object('quantization_config') ?? checkpoint.config.object('quantization_config')
    const none = (): Quantization => new Quantization(checkpoint, undefined, new Map())
    if (!settings) {
      for (const { name, dtype, path } of checkpoint.tensors.values())
        if (dtype.startsWith('F8_'))
          throw new FileError(
            path,
            `the tensor ${quote(name)} is in ${dtype}, and config.json does not say with which scales`,
          )
      return none()
    }
    const method = settings.string('quant_method', 'unknown')
    if (method !== 'fp8')
      throw new FileError(
        checkpoint.folder,
        `is quantized by ${quote(method)}, which would have to be undone at a loss; take the checkpoint in full precision`,
      )
    const size = settings.numbers('weight_block_size')
    if (size && (size.length !== 2 || !size.every((each) => Number.isInteger(each) && each > 0)))
      throw settings.wrong('weight_block_size', 'two whole numbers')
    const scaled = new Map<string, StoredTensor>()
    for (const { name, dtype, path } of checkpoint.tensors.values()) {
      if (!dtype.startsWith('F8_')) continue
      const scale = checkpoint.tensors.get(`${name}${scaleEnding}`)
      if (dtype !== stored8 || !scale)
        throw new FileError(
          path,
          `the tensor ${quote(name)} in ${dtype} has no scales ${quote(`${name}${scaleEnding}`)}`,
        )
      scaled.set(name, scale)
    }
    return new Quantization(checkpoint, size as [number, number] | undefined, scaled)
  }

  /** Whether a tensor belongs to the quantization of another. */
  holds(name: string): boolean {
    return this.scaled.size > 0 && (name.endsWith(scaleEnding) || activationScale.test(name))
  }

  /** The weights of a quantized tensor; undefined for any other. */
  rows(tensor: StoredTensor): Rows | undefined {
    const scale = this.scaled.get(tensor.name)
    if (!scale) return undefined
    const { checkpoint } = this
    const { shape } = tensor
    const columns = columnsOf(shape)
    const [high, wide] = this.#blockOf(tensor, scale)
    const across = Math.ceil(columns / wide)
    const scales = storedRows(checkpoint, scale)
    const all = memoized(() => scales.floats(0, scales.shape[0]))
    return {
      shape,
      unit: 1,
      floats: async (first, count) => {
        const [bytes, factors] = await Promise.all([
          checkpoint.read(tensor, first * columns, count * columns),
          all(),
        ])
        const values = new Float32Array(bytes.length)
        for (let i = 0; i < values.length; i++) {
          const row = first + Math.floor(i / columns)
          values[i] =
            e4m3[bytes[i]] * factors[Math.floor(row / high) * across + Math.floor((i % columns) / wide)]
        }
        return values
      },
    }
  }

  /** @throws FileError for scales that do not fit the matrix */
  #blockOf({ shape, path, name }: StoredTensor, scale: StoredTensor): readonly [number, number] {
    const [rows, columns] = [shape[0] ?? 1, columnsOf(shape)]
    const [high, wide] = this.block ?? [Math.max(rows, 1), Math.max(columns, 1)]
    const expected = Math.ceil(rows / high) * Math.ceil(columns / wide)
    const found = scale.shape.reduce((product, size) => product * size, 1)
    if (found !== expected || shape.length !== 2)
      throw new FileError(path, `the tensor ${quote(name)} should have ${expected} scales and has ${found}`)
    return [high, wide]
  }

  /** Bits that a weight may need: 4 of the stored value, and those of the scale with the most. Undefined if nothing is quantized. */
  async significantBits(): Promise<number | undefined> {
    if (this.scaled.size === 0) return undefined
    let most = 1
    for (const scale of this.scaled.values()) {
      const rows = storedRows(this.checkpoint, scale)
      for (const value of await rows.floats(0, rows.shape[0])) most = Math.max(most, significantBits(value))
    }
    return 4 + most - 1 + Number(most > 1)
  }
}

/** Significant bits of an f32. */
function significantBits(value: number): number {
  if (value === 0 || !Number.isFinite(value)) return 1
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]
  const fraction = (bits & 0x7fffff) | ((bits & 0x7f800000) === 0 ? 0 : 0x800000)
  return 32 - Math.clz32(fraction) - (31 - Math.clz32(fraction & -fraction))
}

function memoized<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
