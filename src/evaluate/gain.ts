/** The gain of training over plain quantization, derived from evaluations. */
import { QuenchError, UsageError } from '../errors.js'
import type { FileEvaluation } from './evaluation.js'
import { type Estimate, sum } from './statistics.js'

/** Bits per weight; `atLeast` and `atMost` mark a value beyond an end of the ladder. */
export interface EffectiveBits {
  readonly value: number
  readonly bound: 'exact' | 'atLeast' | 'atMost'
}

/** The part of an evaluation that is used here. */
type Measured = Pick<FileEvaluation, 'path' | 'windowSums'>

/**
 * The share of the mean KL divergence of `ptq` that `qat` recovers: 1 - KLD(qat) / KLD(ptq). Both must come from one
 * `evaluateFiles`: the error is that of a ratio of paired windows (delta method), in which the difficulty of a window for both
 * files cancels. @throws QuenchError if the PTQ file has no divergence to recover
 */
export function recovered(qat: Measured, ptq: Measured): Estimate {
  const a = qat.windowSums.kld
  const b = ptq.windowSums.kld
  const n = a.length
  if (n !== b.length) throw new UsageError('recovered() needs two files of the same evaluation')
  const total = sum(b)
  if (total === 0) throw new QuenchError(`${ptq.path}: it loses nothing against the reference`)
  const ratio = sum(a) / total
  const squares = a.reduce((s, value, i) => s + (value - ratio * b[i]) ** 2, 0)
  const se = n < 2 ? Number.POSITIVE_INFINITY : Math.sqrt((squares * n) / (n - 1)) / total
  return { mean: 1 - ratio, se }
}

/**
 * Bits per weight at which plain quantization would reach the KL divergence `kld`: linear in log KLD between neighbours of the
 * ladder by size. Rungs no better than a smaller one are dropped, so that the answer is unique; so are rungs without loss,
 * which have no logarithm. Beyond an end of the ladder the answer is that end: `atMost` the smallest rung for a file that is
 * worse than it, `atLeast` the largest for one that is better.
 */
export function effectiveBits(
  kld: number,
  ladder: readonly { readonly bitsPerWeight: number; readonly kld: number }[],
): EffectiveBits {
  const rungs: { bitsPerWeight: number; kld: number }[] = []
  for (const rung of [...ladder].sort((a, b) => a.bitsPerWeight - b.bitsPerWeight || a.kld - b.kld)) {
    if (rung.kld > 0 && !(rung.kld >= (rungs.at(-1)?.kld ?? Number.POSITIVE_INFINITY))) rungs.push(rung)
  }
  const first = rungs[0]
  const last = rungs.at(-1)
  if (!first || !last) throw new UsageError('effective bits need a ladder of at least one quantized file')
  if (kld > first.kld) return { value: first.bitsPerWeight, bound: 'atMost' }
  if (kld < last.kld) return { value: last.bitsPerWeight, bound: 'atLeast' }
  const i = rungs.findIndex((rung) => rung.kld <= kld)
  const better = rungs[i]
  if (better.kld === kld) return { value: better.bitsPerWeight, bound: 'exact' }
  const worse = rungs[i - 1]
  const share = Math.log(worse.kld / kld) / Math.log(worse.kld / better.kld)
  const value = worse.bitsPerWeight + share * (better.bitsPerWeight - worse.bitsPerWeight)
  return { value, bound: 'exact' }
}
