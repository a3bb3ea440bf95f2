/**
 * Rotary position embedding (arXiv 2104.09864) with the scalings that GGUF metadata names: none, linear, YaRN
 * (arXiv 2309.00071), and per-frequency divisors (`rope_freqs.weight`, Llama 3). The angles are those of llama.cpp.
 *
 * Rotating pairs (a, b) to (a cos - b sin, a sin + b cos) is x * cos + swap(x) * sin, where swap is a constant signed
 * permutation: a small matrix product, which costs less than taking the pairs apart and is its own gradient rule.
 */
import { FileError } from '../errors.js'
import { formatOf } from '../formats/table.js'
import type { Gguf } from '../gguf/index.js'
import { add, constant, matmul, mul, reshape, type Tensor } from '../graph/index.js'
import { count, positive } from './hyperparameters.js'

export interface RopeTables {
  /** Radians per position of each pair, (headWidth / 2). */
  readonly frequencies: Float64Array
  /** Factor on sine and cosine. */
  readonly magnitude: number
}

/** Reads the rotary settings of an architecture, e.g. `llama.rope.*`. @throws FileError for scalings not known */
export async function readRope(gguf: Gguf, architecture: string, headWidth: number): Promise<RopeTables> {
  const { metadata, path } = gguf
  const key = (name: string): string => `${architecture}.rope.${name}`
  const rotated = metadata.number(key('dimension_count'), headWidth)
  if (rotated !== headWidth)
    throw new FileError(
      path,
      `rotates ${rotated} of ${headWidth} values of a head, which quench cannot train`,
    )
  const base = positive(metadata, key('freq_base'), 10_000)
  const type = metadata.string(key('scaling.type'), 'linear')
  const stated = metadata.number(key('scaling.factor'), metadata.number(key('scale_linear'), 0))
  if (!['none', 'linear', 'yarn'].includes(type))
    throw new FileError(path, `has rope scaling "${type}"; quench trains models with none, linear or yarn`)
  if (!(stated >= 0 && Number.isFinite(stated)))
    throw new FileError(path, `has the rope scaling factor ${stated}; the file is damaged`)
  const factor = type === 'none' || stated === 0 ? 1 : stated

  const divisors = gguf.has('rope_freqs.weight') ? await readVector(gguf, 'rope_freqs.weight') : undefined
  const pairs = headWidth / 2
  if (divisors && divisors.length !== pairs)
    throw new FileError(path, `rope_freqs.weight has ${divisors.length} values where ${pairs} are needed`)
  if (divisors?.some((d) => !(d > 0 && Number.isFinite(d))))
    throw new FileError(path, 'rope_freqs.weight holds a value that is not above 0; the file is damaged')
  const context = count(metadata, `${architecture}.context_length`)
  const original = count(metadata, key('scaling.original_context_length'), context)
  const ramp = type === 'yarn' ? yarnRamp(headWidth, original, base) : undefined
  const frequencies = Float64Array.from({ length: pairs }, (_, pair) => {
    const own = base ** (-pair / pairs) / (divisors?.[pair] ?? 1)
    const kept = ramp ? ramp(pair) : 0
    return (own / factor) * (1 - kept) + own * kept
  })
  const yarnMagnitude = type === 'yarn' && factor > 1 ? 1 + 0.1 * Math.log(factor) : 1
  return { frequencies, magnitude: yarnMagnitude * positive(metadata, key('scaling.attn_factor'), 1) }
}

/** YaRN's share of a pair's own frequency that is kept: 1 for fast pairs, 0 for slow ones, linear in between. */
function yarnRamp(width: number, originalContext: number, base: number): (pair: number) => number {
  const [betaFast, betaSlow] = [32, 1] // turns within the original context: the values llama.cpp uses
  const pairOfTurns = (turns: number): number =>
    (width * Math.log(originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base))
  const low = Math.max(0, Math.floor(pairOfTurns(betaFast)))
  const high = Math.min(width - 1, Math.ceil(pairOfTurns(betaSlow)))
  return (pair) => 1 - Math.min(1, Math.max(0, (pair - low) / Math.max(0.001, high - low)))
}

async function readVector(gguf: Gguf, name: string): Promise<Float32Array> {
  const tensor = gguf.tensor(name)
  const bytes = await gguf.read(tensor)
  const format = formatOf(tensor.type)
  if (!format) throw new FileError(gguf.path, `${name} is of a type that quench does not read`)
  return format.dequantize(format.decode(bytes))
}

/** Rotates x, (windows, heads, length, headWidth), whose pairs are neighbours: values 2i and 2i + 1. */
export function rotate(x: Tensor, { frequencies, magnitude }: RopeTables): Tensor {
  const [windows, heads, length, width] = x.shape
  const cos = new Float32Array(length * width)
  const sin = new Float32Array(length * width)
  for (let position = 0; position < length; position++)
    for (let i = 0; i < width; i++) {
      const angle = position * frequencies[i >> 1]
      cos[position * width + i] = Math.cos(angle) * magnitude
      sin[position * width + i] = Math.sin(angle) * magnitude
    }
  const swap = new Float32Array(width * width) // (x @ swap)[2i] = -x[2i+1], (x @ swap)[2i+1] = x[2i]
  for (let i = 0; i < width; i += 2) {
    swap[(i + 1) * width + i] = -1
    swap[i * width + i + 1] = 1
  }
  const flat = reshape(x, [windows * heads * length, width])
  const swapped = reshape(matmul(flat, constant(swap, [width, width])), x.shape)
  return add(mul(x, constant(cos, [length, width])), mul(swapped, constant(sin, [length, width])))
}
