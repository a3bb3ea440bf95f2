/**
 * Rotary position embedding (arXiv 2104.09864) with the scalings of GGUF metadata: none, linear, YaRN (arXiv 2309.00071), and
 * per-frequency divisors (`rope_freqs.weight`, Llama 3 and Gemma 4). The angles are those of llama.cpp.
 *
 * Rotating pairs (a, b) to (a cos - b sin, a sin + b cos) is x * cos + swap(x) * sin. If the pairs are neighbours, swap is a
 * product with a constant signed permutation, which is faster than splitting them; if they are the halves of a head, it
 * exchanges the halves. Both are their own gradient rules.
 */
import { FileError } from '../errors.js'
import { formatOf } from '../formats/table.js'
import type { Gguf } from '../gguf/index.js'
import { add, concat, constant, matmul, mul, reshape, roll, slice, type Tensor } from '../graph/index.js'
import { count, positive } from './hyperparameters.js'

/** Which values of a head rotate together: 2i and 2i + 1, or i and i + n/2 (GPT-NeoX). */
export type Pairs = 'neighbours' | 'halves'

export interface Rope {
  readonly pairs: Pairs
  /** Radians per position of each pair, or none; values of a head beyond the pairs are not rotated. */
  readonly frequencies: Float64Array
  /** Factor on sine and cosine. */
  readonly magnitude: number
}

export interface RopeRules {
  readonly pairs: Pairs
  /** The rotation of sliding-window layers: their own base, no scaling. */
  readonly sliding?: boolean
  /** `rope_freqs.weight` divides the frequencies, if the file has it. */
  readonly divided?: boolean
  /** A part of a head may be rotated. */
  readonly partial?: boolean
}

/**
 * Reads the rotary settings of an architecture, e.g. `llama.rope.*`, for heads of `width`.
 * @throws FileError for unknown scalings
 */
export async function readRope(
  gguf: Gguf,
  architecture: string,
  width: number,
  rules: RopeRules,
): Promise<Rope> {
  const { metadata, path } = gguf
  const key = (name: string): string => `${architecture}.rope.${name}`
  const whole = count(metadata, key('dimension_count'), width)
  const rotated = rules.sliding ? count(metadata, key('dimension_count_swa'), whole) : whole
  if (rotated > width || rotated % 2 !== 0 || (rotated !== width && !rules.partial))
    throw new FileError(path, `rotates ${rotated} of ${width} values of a head, which quench cannot train`)
  const base = rules.sliding
    ? positive(metadata, key('freq_base_swa'), 10_000)
    : positive(metadata, key('freq_base'), 10_000)
  const { type, factor, magnitude } = readScaling(gguf, key)
  const pairs = rotated / 2
  const turn = (pair: number): number => base ** (-pair / pairs)
  if (rules.sliding)
    return {
      pairs: rules.pairs,
      frequencies: Float64Array.from({ length: pairs }, (_, pair) => turn(pair)),
      magnitude,
    }

  const divisors =
    rules.divided && gguf.has('rope_freqs.weight') ? await readVector(gguf, 'rope_freqs.weight') : undefined
  if (divisors && divisors.length !== width / 2)
    throw new FileError(path, `rope_freqs.weight has ${divisors.length} values where ${width / 2} are needed`)
  if (divisors?.some((d) => !(d > 0 && Number.isFinite(d))))
    throw new FileError(path, 'rope_freqs.weight holds a value that is not above 0; the file is damaged')
  const context = count(metadata, `${architecture}.context_length`)
  const original = count(metadata, key('scaling.original_context_length'), context)
  const ramp = type === 'yarn' ? yarnRamp(rotated, original, base) : undefined
  const frequencies = Float64Array.from({ length: pairs }, (_, pair) => {
    const own = turn(pair) / (divisors?.[pair] ?? 1)
    const kept = ramp ? ramp(pair) : 0
    return (own / factor) * (1 - kept) + own * kept
  })
  const yarnMagnitude = type === 'yarn' && factor > 1 ? 1 + 0.1 * Math.log(factor) : 1
  return { pairs: rules.pairs, frequencies, magnitude: yarnMagnitude * magnitude }
}

function readScaling({ metadata, path }: Gguf, key: (name: string) => string) {
  const type = metadata.string(key('scaling.type'), 'linear')
  const stated = metadata.number(key('scaling.factor'), metadata.number(key('scale_linear'), 0))
  if (!['none', 'linear', 'yarn'].includes(type))
    throw new FileError(path, `has rope scaling "${type}"; quench trains models with none, linear or yarn`)
  if (!(stated >= 0 && Number.isFinite(stated)))
    throw new FileError(path, `has the rope scaling factor ${stated}; the file is damaged`)
  return {
    type,
    factor: type === 'none' || stated === 0 ? 1 : stated,
    magnitude: positive(metadata, key('scaling.attn_factor'), 1),
  }
}

/** The share of a pair's own frequency that YaRN keeps: 1 for fast pairs, 0 for slow ones, linear in between. */
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

/** Rotates x, (windows, heads, length, headWidth). */
export function rotate(x: Tensor, rope: Rope): Tensor {
  const width = x.shape[3]
  const rotated = 2 * rope.frequencies.length
  if (rotated === 0) return x
  if (rotated === width) return rotateAll(x, rope)
  return concat([rotateAll(slice(x, 3, 0, rotated), rope), slice(x, 3, rotated, width)], 3)
}

function rotateAll(x: Tensor, { pairs, frequencies, magnitude }: Rope): Tensor {
  const [, , length, width] = x.shape
  const half = width / 2
  const cos = new Float32Array(length * width)
  const sin = new Float32Array(length * width)
  for (let position = 0; position < length; position++)
    for (let i = 0; i < width; i++) {
      const angle = position * frequencies[pairs === 'halves' ? i % half : i >> 1]
      const sign = pairs === 'halves' && i < half ? -1 : 1
      cos[position * width + i] = Math.cos(angle) * magnitude
      sin[position * width + i] = sign * Math.sin(angle) * magnitude
    }
  const swapped = pairs === 'halves' ? roll(x, half) : swapNeighbours(x)
  return add(mul(x, constant(cos, [length, width])), mul(swapped, constant(sin, [length, width])))
}

/** Swaps values 2i and 2i + 1 and negates the one that moves to 2i. */
function swapNeighbours(x: Tensor): Tensor {
  const [windows, heads, length, width] = x.shape
  const swap = new Float32Array(width * width)
  for (let i = 0; i < width; i += 2) {
    swap[(i + 1) * width + i] = -1
    swap[i * width + i + 1] = 1
  }
  const flat = reshape(x, [windows * heads * length, width])
  return reshape(matmul(flat, constant(swap, [width, width])), x.shape)
}
