/**
 * Whether a matrix lies on a grid, as the weights of a checkpoint of quantization-aware training do, and which: how many weights share
 * a step, which levels they take, and by which rule the step follows from the largest weight.
 *
 * A sample of rows decides. Groups of several sizes may lie on a lattice: halves of a group have its step, and two groups have a common
 * step where theirs are powers of two. The size is the longest by which the weights take about as few bits as by any.
 */
import { roundingOf } from '../formats/float-rounding.js'
import { e2m1 } from '../formats/nibble-tables.js'
import { type Fit, fitMultiples, fitShifted, type Weights } from './fit.js'

export interface Lattice {
  /** Weights that share a step. */
  readonly groupSize: number
  /** Whether a row is one group. */
  readonly wholeRows: boolean
  /** E2M1 is a float with a sign, two bits of exponent and one of fraction, here doubled: 0, 1, 2, 3, 4, 6, 8, 12. */
  readonly levels: 'integers' | 'E2M1'
  /** The least and the greatest code of a group, with the sign of the step such that the largest one is negative; from 0 with an offset. */
  readonly least: number
  readonly greatest: number
  /** What is added: nothing, a whole multiple of the step that each group chooses (a zero point), or any number. */
  readonly offset: 'none' | 'integer' | 'real'
  /** How the step follows from a group: `absmax/7`, `absmax/m with m from 1 to 8`, `range/15`. */
  readonly step: string
  /** Whether so many weights have the greatest code that larger ones must have been clipped. */
  readonly clipped: boolean
  /** The floats to which the weights were rounded, e.g. `BF16`, whatever type stores them. */
  readonly stored: string
  /** Share of the groups that lie on it, of those that tell. */
  readonly share: number
}

/** Rows that are looked at. */
const sampledRows = 16
const groupSizes = [256, 128, 64, 32, 16]
/** The greatest code with an offset, that of eight bits. */
const mostShifted = 255
/** Share of the groups that lie on the grid of a matrix at least. */
const wanted = 0.95
/** Bits of the step of a group. */
const scaleBits = 16
const aboutAsFew = 0.25
/** Bits of evidence of a group that tells, and of a matrix. */
const tellingBits = 16
const convincingBits = 64
/** Weights of a group that have its greatest code, on average, beyond what a step of absmax/4 or smaller leaves without clipping. */
const clippedCount = 3

/** The grid of a matrix (rows, columns), or of some of its rows; undefined if it lies on none. */
export function detectLattice(values: Float32Array, columns: number): Lattice | undefined {
  const rows = Math.floor(values.length / columns)
  const sample = rows <= sampledRows ? values.slice() : pickRows(values, rows, columns)
  const bits = new Uint32Array(sample.buffer)
  const weights = { values: sample, bits, rounding: roundingOf(bits) }
  const sizes = [...new Set([columns, ...groupSizes])]
    .filter((size) => size >= 16 && columns % size === 0)
    .sort((a, b) => b - a)
  const codes = new Int16Array(columns)
  for (const shifted of [false, true]) {
    const found = sizes.flatMap((size) => {
      const fits = fitAll(weights, size, shifted, codes)
      return fits ? [{ size, fits, bits: bitsOf(fits) + scaleBits / size }] : []
    })
    if (found.length === 0) continue
    const fewest = min(found.map(({ bits }) => bits))
    const { size, fits } = found.find(({ bits }) => bits <= fewest + aboutAsFew) as (typeof found)[number]
    return describe(fits, { size, columns, shifted, stored: weights.rounding.name })
  }
  return undefined
}

/** Bits of a code. */
function bitsOf({ fits, isE2m1 }: Fits): number {
  const extent = max(fits.map(({ least, greatest }) => greatest - least))
  return Math.log2(Math.min(extent + 1, isE2m1 ? e2m1.numberOf.size : extent + 1))
}

/** Numbers of the rows that are looked at, of `rows`. */
export const sampleOf = (rows: number): number[] => {
  const count = Math.min(rows, sampledRows)
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * rows) / count))
}

function pickRows(values: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const picked = new Float32Array(sampledRows * columns)
  for (const [i, row] of sampleOf(rows).entries())
    picked.set(values.subarray(row * columns, (row + 1) * columns), i * columns)
  return picked
}

interface Fits {
  readonly fits: readonly Fit[]
  readonly share: number
  /** Mean number of weights of a group that have its greatest code. */
  readonly atEnd: number
  readonly isE2m1: boolean
}

/** The fits of all groups of a size that tell; undefined unless nearly all lie on a lattice. */
function fitAll(weights: Weights, size: number, shifted: boolean, codes: Int16Array): Fits | undefined {
  const groups = weights.values.length / size
  const fits: Fit[] = []
  let [failed, evidence, atEnd, ofE2m1] = [0, 0, 0, 0]
  let first = 1
  for (let group = 0; group < groups; group++) {
    const fit = shifted
      ? fitShifted(weights, group * size, size, codes, mostShifted, first)
      : fitMultiples(weights, group * size, size, codes, first)
    if (!fit) {
      failed++
      if (failed > (1 - wanted) * groups) return undefined
      continue
    }
    if (fit.evidence < tellingBits) continue
    fits.push(fit)
    evidence += fit.evidence
    first = Math.max(fit.greatest, -fit.least)
    const used = codes.subarray(0, size)
    for (const code of used) if (Math.abs(code) === first) atEnd++
    if (!shifted && multiplierTo(used, first)) ofE2m1++
  }
  const share = fits.length / (fits.length + failed)
  if (evidence < convincingBits || share < wanted) return undefined
  return { fits, share, atEnd: atEnd / fits.length, isE2m1: ofE2m1 === fits.length }
}

/** Share of the levels of a group that lie on one side of 0 only where a zero point has moved them there. */
const lopsided = 0.6

/** Levels of E2M1 that are integers of a smaller range too. */
const mostOfBoth = 4

/** By what codes are multiplied to be levels of E2M1; undefined if by nothing. */
function multiplierTo(codes: Int16Array, largest: number): number | undefined {
  for (let factor = 1; factor * largest <= e2m1.levels.hi; factor++)
    if (codes.every((code) => e2m1.numberOf.has(factor * Math.abs(code)))) return factor
  return undefined
}

function describe(
  { fits, share, atEnd, isE2m1 }: Fits,
  { size, columns, shifted, stored }: { size: number; columns: number; shifted: boolean; stored: string },
): Lattice {
  const tops = fits.map(({ least, greatest }) => Math.max(greatest, -least))
  const extents = fits.map(({ least, greatest }) => greatest - least)
  const flipped = fits.map(({ least, greatest }) => (greatest > -least ? -greatest : least))
  const upper = fits.map(({ least, greatest }) => (greatest > -least ? -least : greatest))
  const [least, greatest] = [min(flipped), max(upper)]
  const widest = max(extents)
  const floats = isE2m1 && max(tops) > mostOfBoth
  const zeroPoints = !shifted && !floats && -least > lopsided * (widest + 1)
  const shared = { groupSize: size, wholeRows: size === columns, stored, share }
  if (shifted || zeroPoints)
    return {
      ...shared,
      levels: 'integers',
      least: 0,
      greatest: widest,
      offset: shifted ? 'real' : 'integer',
      step: rule('range', extents),
      clipped: false,
    }
  return {
    ...shared,
    levels: floats ? 'E2M1' : 'integers',
    least: floats ? e2m1.levels.lo : least,
    greatest: floats ? e2m1.levels.hi : greatest,
    offset: 'none',
    step: floats ? 'absmax/6 or less' : rule('absmax', tops),
    clipped: !floats && min(tops) >= mostOfBoth && atEnd > clippedCount,
  }
}

function rule(of: string, divisors: readonly number[]): string {
  const [least, greatest] = [min(divisors), max(divisors)]
  return least === greatest ? `${of}/${least}` : `${of}/m with m from ${least} to ${greatest}`
}

const min = (numbers: readonly number[]): number => numbers.reduce((a, b) => Math.min(a, b))
const max = (numbers: readonly number[]): number => numbers.reduce((a, b) => Math.max(a, b))
