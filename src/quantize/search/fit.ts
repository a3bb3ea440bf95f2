/** The kernels of the search for scales, fit.wat and bounds.wat, and their memory: one for each thread. */
import { instantiate } from '../../formats/wasm.js'
import { boundsWasm } from './bounds-wasm.js'
import { fitWasm } from './fit-wasm.js'

/** Most weights of a unit, groups, scales at once, starts of two numbers, and entries of a table of levels. */
const [mostWeights, mostGroups, mostScales, mostStarts, mostEntries] = [256, 64, 256, 32, 512]
/** Weights that are in the memory at once. */
export const mostAtOnce = 4096

/** The weights of a group, as indices of the first and after the last, and the levels: those of `GroupFit`. */
type Group = readonly [from: number, to: number]
type Of = readonly [...Group, lo: number, hi: number, last: number]

interface Fits {
  readonly memory: { readonly buffer: ArrayBuffer }
  /** Takes `count` weights and importances of `inFit.weights` and `inFit.factors`, from index `at` on, as the unit. */
  take(at: number, count: number): void
  /** Writes what `inFit` has of group `g`. @param negligible importance of weights that extremes leave out, as a share of the mean */
  load(g: number, ...group: readonly [...Group, negligible: number]): void
  /** Writes the errors and sums of a group for the first `count` scales and offsets, an even number. */
  fit(count: number, ...of: Of): void
  /** The error for one scale and offset; writes the sums of index 0. */
  fitOne(scale: number, offset: number, ...of: Of): number
  /** Writes the best of `rounds` rounds of least squares from each of the first `count` scales and offsets, an even number. */
  fitBoth(count: number, rounds: number, h1: number, w1: number, ...of: Of): void
  /** `before` plus the error of a group with the codes in `inFit.codes` from index `at` on. */
  errorOf(before: number, at: number, ...group: readonly [...Group, scale: number, offset: number]): number
  /** Writes the nearest codes of a group to `inFit.codes` from index `at` on. @param scale not 0 */
  encode(
    at: number,
    ...of: readonly [...Group, scale: number, offset: number, lo: number, hi: number, last: number]
  ): void
}

interface Bounds {
  /** Keeps those of the first `count` scales whose error may be the least, in their order (bounds.wat). @returns their number */
  prune(
    count: number,
    ...of: readonly [...Of, first: number, near: number, refit: number, begin: number, large: number]
  ): number
}

export const kernel = instantiate<Fits>(fitWasm)
export const { prune } = instantiate<Bounds>(boundsWasm, { fit: { memory: kernel.memory } })

const { buffer } = kernel.memory
const doubles = (at: number, length: number): Float64Array => new Float64Array(buffer, at, length)
const floats = (at: number, length: number): Float32Array => new Float32Array(buffer, at, length)

/** The kernels' memory. */
export const inFit = {
  w: doubles(0, mostWeights),
  /** Importances. */
  h: doubles(2048, mostWeights),
  scales: doubles(4096, mostScales),
  offsets: doubles(6144, mostScales),
  // For each scale and offset: the error, and sums of h q^2, h q and h q (w - offset).
  errors: doubles(8192, mostScales),
  qq: doubles(10240, mostScales),
  q1: doubles(12288, mostScales),
  qx: doubles(14336, mostScales),
  /** Levels by twice their position, rounded down, from twice the least on; the same in f32. */
  table: doubles(16384, mostEntries),
  table32: floats(20480, mostEntries),
  // By group: sums of h and h w; of weights that are not negligible the sum of magnitudes and the extremes; the largest magnitude of all.
  h1: doubles(25600, mostGroups),
  w1: doubles(26112, mostGroups),
  sizes: doubles(26624, mostGroups),
  least: doubles(27136, mostGroups),
  greatest: doubles(27648, mostGroups),
  peak: doubles(28160, mostGroups),
  /** By group: bytes of large weights, which come first in the copy for `prune`. */
  large: new Int32Array(buffer, 29440, mostGroups),
  /** What `fitBoth` found. */
  best: {
    errors: doubles(28672, mostStarts),
    scales: doubles(28928, mostStarts),
    offsets: doubles(29184, mostStarts),
  },
  // Weights of several units, their importances, and their codes.
  weights: floats(32768, mostAtOnce),
  factors: floats(49152, mostAtOnce),
  codes: floats(65536, mostAtOnce),
}
