/**
 * Weights as quantization-aware training leaves them, by the conventions that checkpoints follow. Each is written from its definition
 * alone and shares nothing with the detection of grids.
 */
import {
  bfloatsToFloats,
  floatsToBfloats,
  floatsToHalves,
  floatToHalf,
  halfToFloat,
  halvesToFloats,
} from '../../src/formats/half.js'

export const storedAs = ['F32', 'F16', 'BF16'] as const
export type Stored = (typeof storedAs)[number]

/** The grid of one group. */
interface Grid {
  readonly step: number
  readonly offset?: number
  /** Of levels that may be halves; by default the nearest integer from `lo` to `hi`. */
  readonly levels?: readonly number[]
  readonly lo?: number
  readonly hi?: number
}

export interface Convention {
  readonly name: string
  /** Weights of a group; 0 for a row. */
  readonly group: number
  /** The type that holds it. */
  readonly type: string
  /** Not to be told after rounding to BF16, as its levels lie closer than that. */
  readonly lostAsBf16?: true
  /** What is to be found. */
  readonly found: Readonly<Record<string, unknown>>
  readonly grid: (weights: Float32Array) => Grid
}

const half = (value: number): number => halfToFloat(floatToHalf(value))
const bfloat = (value: number): number => bfloatsToFloats(floatsToBfloats(Float32Array.of(value)))[0]
const absmax = (weights: Float32Array): number => weights.reduce((most, w) => Math.max(most, Math.abs(w)), 0)
const range = (weights: Float32Array): readonly [number, number] => [
  weights.reduce((a, b) => Math.min(a, b)),
  weights.reduce((a, b) => Math.max(a, b)),
]
const extreme = (weights: Float32Array): number =>
  weights.reduce((most, w) => (Math.abs(w) > Math.abs(most) ? w : most), 0)
const e2m1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6].flatMap((level) => [level, -level])

/** A number of the byte float E4M3 near a positive one. */
function e4m3(value: number): number {
  const exponent = Math.max(-6, Math.floor(Math.log2(value)))
  return Math.min(448, Math.round(value / 2 ** (exponent - 3)) * 2 ** (exponent - 3))
}

export const conventions: readonly Convention[] = [
  {
    name: 'absmax/7, groups of 32, scales of F16',
    ...{ group: 32, type: 'Q4_0' },
    found: { step: 'absmax/7', least: -7, greatest: 7 },
    grid: (w) => ({ step: half(absmax(w) / 7), lo: -7, hi: 7 }),
  },
  {
    name: 'absmax/8 with the sign of the largest weight, groups of 32',
    ...{ group: 32, type: 'Q4_0' },
    found: { step: 'absmax/8', least: -8, greatest: 7 },
    grid: (w) => ({ step: half(extreme(w) / -8), lo: -8, hi: 7 }),
  },
  {
    name: 'absmax/m, m from 1 to 8 by block, groups of 32, scales of BF16',
    ...{ group: 32, type: 'Q4_0' },
    found: { step: 'absmax/m with m from 1 to 8', least: -8, greatest: 7 },
    grid: (w) => {
      const m = 1 + (Math.abs(Math.round(w[0] * 1e6)) % 8)
      return { step: bfloat(extreme(w) / -m), lo: -m, hi: Math.min(m, 7) }
    },
  },
  {
    name: 'absmax/7, groups of 128, scales of F32',
    ...{ group: 128, type: 'Q4_0' },
    found: { step: 'absmax/7' },
    grid: (w) => ({ step: Math.fround(absmax(w) / 7), lo: -7, hi: 7 }),
  },
  {
    name: 'absmax/8, whole rows, scales of BF16',
    ...{ group: 0, type: 'Q4_0' },
    found: { least: -8, greatest: 7, wholeRows: true },
    grid: (w) => ({ step: bfloat(absmax(w) / 8), lo: -8, hi: 7 }),
  },
  {
    name: 'clipped at .6 absmax, levels -8 to 7, groups of 32',
    ...{ group: 32, type: 'Q4_0' },
    found: { least: -8, clipped: true },
    grid: (w) => ({ step: half((0.6 * absmax(w)) / 8), lo: -8, hi: 7 }),
  },
  {
    name: 'zero points, 16 levels, groups of 32, scales of F16',
    ...{ group: 32, type: 'Q4_1' },
    found: { offset: 'integer', step: 'range/15', greatest: 15 },
    grid: (w) => {
      const [least, greatest] = range(w)
      const step = half((greatest - least) / 15)
      const zero = Math.round(-least / step)
      return { step, lo: -zero, hi: 15 - zero }
    },
  },
  {
    name: 'least weight as offset, 16 levels, groups of 64, scales of F32',
    ...{ group: 64, type: 'Q4_1' },
    found: { offset: 'real', step: 'range/15', greatest: 15 },
    grid: (w) => {
      const [least, greatest] = range(w)
      return { step: Math.fround((greatest - least) / 15), offset: least, lo: 0, hi: 15 }
    },
  },
  {
    name: 'E2M1, powers of two, groups of 32',
    ...{ group: 32, type: 'MXFP4' },
    found: { levels: 'E2M1', offset: 'none' },
    grid: (w) => ({ step: 2 ** (Math.floor(Math.log2(absmax(w))) - 2), levels: e2m1 }),
  },
  {
    name: 'E2M1, scales of E4M3, groups of 16',
    ...{ group: 16, type: 'NVFP4' },
    found: { levels: 'E2M1', offset: 'none' },
    grid: (w) => ({ step: e4m3(absmax(w) / 6), levels: e2m1 }),
  },
  {
    name: 'three levels, groups of 256',
    ...{ group: 256, type: 'TQ1_0' },
    found: { least: -1, greatest: 1 },
    grid: (w) => ({ step: half(w.reduce((sum, x) => sum + Math.abs(x), 0) / w.length), lo: -1, hi: 1 }),
  },
  {
    name: 'four levels -2 to 1, groups of 64',
    ...{ group: 64, type: 'Q2_0' },
    found: { least: -2, greatest: 1 },
    grid: (w) => ({ step: half(extreme(w) / -2.5), lo: -2, hi: 1 }),
  },
  {
    name: 'absmax/15, groups of 32',
    ...{ group: 32, type: 'Q5_0' },
    found: { step: 'absmax/15' },
    grid: (w) => ({ step: half(absmax(w) / 15), lo: -15, hi: 15 }),
  },
  {
    name: 'absmax/127, whole rows',
    ...{ group: 0, type: 'Q8_0', lostAsBf16: true },
    found: { least: -127, offset: 'none', wholeRows: true },
    grid: (w) => ({ step: Math.fround(absmax(w) / 127), lo: -127, hi: 127 }),
  },
]

/** A matrix on a grid: what is stored, and the codes, steps and offsets (one for each group) that it was made of. */
export interface OnGrid {
  readonly values: Float32Array
  readonly codes: Float32Array
  readonly steps: Float32Array
  readonly offsets: Float32Array
  readonly group: number
}

/** Rounds weights to a grid, computes them in f32, and rounds them to what stores them. */
export function onGrid(
  { group: size, grid }: Convention,
  weights: Float32Array,
  columns: number,
  as: Stored,
): OnGrid {
  const group = size === 0 ? columns : size
  const groups = weights.length / group
  const [values, codes] = [new Float32Array(weights.length), new Float32Array(weights.length)]
  const [steps, offsets] = [new Float32Array(groups), new Float32Array(groups)]
  for (let g = 0; g < groups; g++) {
    const own = weights.subarray(g * group, (g + 1) * group)
    const { step, offset = 0, levels, lo = 0, hi = 0 } = grid(own)
    steps[g] = step
    offsets[g] = offset
    for (let i = 0; i < group; i++) {
      const position = step === 0 ? 0 : (own[i] - offset) / step
      const code = levels ? nearestOf(levels, position) : Math.min(hi, Math.max(lo, Math.round(position)))
      codes[g * group + i] = code
      values[g * group + i] = Math.fround(Math.fround(code * steps[g]) + offset)
    }
  }
  return { values: stored(values, as), codes, steps, offsets, group }
}

function nearestOf(levels: readonly number[], x: number): number {
  return levels.reduce((best, level) => (Math.abs(level - x) < Math.abs(best - x) ? level : best))
}

function stored(values: Float32Array, as: Stored): Float32Array {
  if (as === 'F32') return values
  return as === 'F16' ? halvesToFloats(floatsToHalves(values)) : bfloatsToFloats(floatsToBfloats(values))
}

/** How many codes of other weights, read on the same grid, are not those it was made of. */
export function differingCodes({ codes, steps, offsets, group }: OnGrid, weights: Float32Array): number {
  let differing = 0
  for (let i = 0; i < codes.length; i++) {
    const [step, offset] = [steps[Math.floor(i / group)], offsets[Math.floor(i / group)]]
    const wrong =
      step === 0 ? weights[i] !== offset : Math.abs((weights[i] - offset) / step - codes[i]) >= 0.25
    if (wrong) differing++
  }
  return differing
}
