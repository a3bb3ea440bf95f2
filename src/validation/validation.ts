/**
 * Validation on text of several kinds. What a run has made is compared window by window with what it had before, so that a difference
 * counts only where it is larger than what chance makes of so few windows, and each kind counts alike, however much it loses.
 */
import { type MeanError, meanError } from './estimate.js'

interface Kind {
  readonly kind: string
  /** It is reported, but decides nothing and is in no mean: text of the same source as what a run trains on. */
  readonly apart?: true
}

/** Windows of one kind of text, such as prose or code. */
export interface KindWindows extends Kind {
  readonly windows: readonly Int32Array[]
}

/** Mean KL divergence of each window, nats per token, by kind; the windows of the kinds one after another. */
export interface Divergence {
  readonly kinds: readonly (Kind & { readonly windows: readonly number[] })[]
}

/** @param means of the windows of all kinds in their order; those beyond are of windows that fill up the last batch */
export function divergenceOf(text: readonly KindWindows[], means: readonly number[]): Divergence {
  let at = 0
  const kinds = text.map(({ windows, ...kind }) => {
    const own = means.slice(at, at + windows.length)
    at += windows.length
    return { ...kind, windows: own }
  })
  return { kinds }
}

/** Mean over kinds; the standard error is that of the means of the kinds. */
export function meanOf({ kinds }: Divergence): MeanError {
  return pooled(kinds.filter(decides).map(({ windows }) => meanError(windows)))
}

const decides = ({ apart }: Kind): boolean => !apart

/** Each kind counts alike. */
function pooled(parts: readonly MeanError[]): MeanError {
  const { length } = parts
  return {
    mean: parts.reduce((sum, { mean }) => sum + mean, 0) / length,
    se: Math.sqrt(parts.reduce((sum, { se }) => sum + se ** 2, 0)) / length,
  }
}

/** A kind of text, and by how much one result loses less on it than another: the share of the other's divergence that is gone. */
export interface KindGain extends Kind, MeanError {}

/** By how much `after` loses less than `before`, by kind, from paired windows; a share of what `before` loses on that kind. */
export function gains(before: Divergence, after: Divergence): KindGain[] {
  return before.kinds.map(({ windows, ...kind }, k) => {
    const base = meanError(windows).mean
    const differences = windows.map((value, i) => value - after.kinds[k].windows[i])
    const { mean, se } = meanError(differences)
    return { ...kind, ...(base > 0 ? { mean: mean / base, se: se / base } : { mean: 0, se: 0 }) }
  })
}

/** Mean over kinds. */
export const meanGain = (before: Divergence, after: Divergence): MeanError =>
  pooled(gains(before, after).filter(decides))

/**
 * Whether `after` is better: over all kinds by more than the standard error of the paired difference, and on no kind worse by more than
 * that of the kind. A single window tells nothing of chance, so its difference counts as it is.
 */
export function isBetter(before: Divergence, after: Divergence): boolean {
  return isAhead(before, after, chanceOf)
}

/** The same of a file that stands in for one of the reference quantizer: on no kind is it worse at all, as far as can be seen. */
export function beatsStock(stock: Divergence, after: Divergence): boolean {
  return isAhead(stock, after, () => 0)
}

const chanceOf = ({ se }: MeanError): number => (Number.isFinite(se) ? se : 0)

/** @param leeway by how much the gain on a kind may fall short of nothing */
function isAhead(before: Divergence, after: Divergence, leeway: (gain: MeanError) => number): boolean {
  const all = meanGain(before, after)
  const own = gains(before, after).filter(decides)
  return all.mean > chanceOf(all) && own.every((gain) => gain.mean >= -leeway(gain))
}

/** The windows of all kinds in whole batches of `size`; the last is filled up by windows from the beginning. */
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
