/**
 * Validation on text of several kinds. A result is compared with the one before it in paired windows, so that only a difference larger
 * than chance counts, and every kind has the same weight, however large its divergence.
 */
import { type MeanError, meanError } from './estimate.js'

interface Kind {
  readonly kind: string
  /** Text from the same source as the training text: it is reported, but excluded from means and decisions. */
  readonly apart?: true
}

/** Windows of one kind of text, such as prose or code. */
export interface KindWindows extends Kind {
  readonly windows: readonly Int32Array[]
}

/** Mean KL divergence of each window, nats per token, by kind. */
export interface Divergence {
  readonly kinds: readonly (Kind & { readonly windows: readonly number[] })[]
}

/** @param means of the windows of all kinds, in order; further ones are of windows that fill up the last batch and are ignored */
export function divergenceOf(text: readonly KindWindows[], means: readonly number[]): Divergence {
  let at = 0
  const kinds = text.map(({ windows, ...kind }) => {
    const own = means.slice(at, at + windows.length)
    at += windows.length
    return { ...kind, windows: own }
  })
  return { kinds }
}

/** Mean over kinds, with the standard error from those of the kinds. */
export function meanOf({ kinds }: Divergence): MeanError {
  return pooled(kinds.filter(decides).map(({ windows }) => meanError(windows)))
}

const decides = ({ apart }: Kind): boolean => !apart

/** The mean of parts with equal weights. */
function pooled(parts: readonly MeanError[]): MeanError {
  const { length } = parts
  return {
    mean: parts.reduce((sum, { mean }) => sum + mean, 0) / length,
    se: Math.sqrt(parts.reduce((sum, { se }) => sum + se ** 2, 0)) / length,
  }
}

/** A kind of text, and the relative reduction of divergence on it. */
export interface KindGain extends Kind, MeanError {}

/** The reduction of divergence from `before` to `after` by kind, from paired windows, relative to that of `before`. */
export function gains(before: Divergence, after: Divergence): KindGain[] {
  return before.kinds.map(({ windows, ...kind }, k) => {
    const base = meanError(windows).mean
    const differences = windows.map((value, i) => value - after.kinds[k].windows[i])
    const { mean, se } = meanError(differences)
    return { ...kind, ...(base > 0 ? { mean: mean / base, se: se / base } : { mean: 0, se: 0 }) }
  })
}

/** Mean gain over kinds. */
export const meanGain = (before: Divergence, after: Divergence): MeanError =>
  pooled(gains(before, after).filter(decides))

/**
 * Whether `after` is better: on the mean over kinds by more than the standard error of the paired difference, and on no kind worse by
 * more than that kind's. A single window has no standard error, so its difference counts as it is.
 */
export function isBetter(before: Divergence, after: Divergence): boolean {
  return isAhead(before, after, chanceOf)
}

/** The same against a file of the reference quantizer, but stricter: on no kind may the measured mean be worse at all. */
export function beatsStock(stock: Divergence, after: Divergence): boolean {
  return isAhead(stock, after, () => 0)
}

const chanceOf = ({ se }: MeanError): number => (Number.isFinite(se) ? se : 0)

/** @param leeway by how much the gain on a kind may be below 0 */
function isAhead(before: Divergence, after: Divergence, leeway: (gain: MeanError) => number): boolean {
  const all = meanGain(before, after)
  const own = gains(before, after).filter(decides)
  return all.mean > chanceOf(all) && own.every((gain) => gain.mean >= -leeway(gain))
}

/** The windows of all kinds in whole batches of `size`; the last is filled up with windows from the beginning. */
export function inWholeBatches(text: readonly KindWindows[], size: number): Int32Array[][] {
  const all = text.flatMap(({ windows }) => windows)
  return Array.from({ length: Math.ceil(all.length / size) }, (_, batch) =>
    Array.from({ length: size }, (_, i) => all[(batch * size + i) % all.length]),
  )
}

/** Means of the windows of a batch from the losses at its positions. */
export function windowMeans(losses: Float32Array, length: number): number[] {
  return Array.from({ length: losses.length / length }, (_, i) => {
    const own = losses.subarray(i * length, (i + 1) * length)
    return own.reduce((a, b) => a + b, 0) / length
  })
}
