import type { Writing } from '../config/plan.js'
/** How a run shares the time that it is given: text that the model writes, the block-wise start, and what is left to train in. */

/** What may be less than asked for by default, so that a run fits in its time. */
export type Adjustable = 'tokens' | 'calibration'

/**
 * Most that writing and solving may take, as shares of all the time and of what writing leaves. Solving from more tokens wins more in the
 * same time than steps do, as long as it has not as many as it wants. Where no steps follow, a little is left for the output.
 */
const shares = { writing: 0.1, solving: 0.85, solvingAlone: 0.95 }
/** They are not cut below these tokens; less is worth little, however short the time. */
const least = { tokens: 16_384, calibration: 8192 }

interface Wanted {
  /** Tokens of text, those of the block-wise start and of a step. */
  readonly text: number
  readonly calibration: number
  readonly batch: number
  /** Time for all; undefined: as long as it takes. */
  readonly seconds: number | undefined
  readonly writing?: Writing
  readonly adjustable?: ReadonlySet<Adjustable>
  /** Whether steps follow the block-wise start; otherwise text that it does not take has no use. Default true. */
  readonly trains?: boolean
}

interface TimeBudget {
  readonly tokens: number
  readonly calibration: number
  readonly writing: Writing & { readonly seconds: number }
  /** Seconds of the block-wise start. */
  readonly solving: number
  /** Seconds that are left to train in; undefined: any. */
  readonly left: number | undefined
}

/**
 * @param rates tokens a second that the model writes, and seconds of the block-wise start from so many tokens, which grow linearly
 */
export function budgetTime(
  { text, calibration: asked, batch, seconds, writing: unwritten, adjustable, trains = true }: Wanted,
  rates: { readonly writing: number; readonly solving: (calibration: number) => number },
): TimeBudget {
  const may = (what: Adjustable): boolean => seconds !== undefined && (adjustable?.has(what) ?? false)
  const useful = trains || !adjustable?.has('tokens') ? text : Math.min(text, Math.max(asked, batch))
  const { tokens: all, ...bytes } = unwritten ?? { tokens: 0, text: 0, copy: 0 }
  // Of the text this share is written, however much of it there is.
  const unwrittenShare = all / text
  const fitting = (shares.writing * (seconds ?? 0) * rates.writing) / unwrittenShare
  const tokens = all > 0 && may('tokens') ? cut(useful, fitting, least.tokens, batch) : useful
  const written = Math.min(all, Math.ceil(unwrittenShare * tokens))
  const writing = {
    tokens: written,
    text: all > 0 ? Math.ceil((bytes.text * written) / all) : bytes.text,
    copy: bytes.copy,
    seconds: written / rates.writing,
  }
  const rest = (seconds ?? 0) - writing.seconds
  const [none, whole] = [rates.solving(Math.min(batch, asked)), rates.solving(asked)]
  const each = (whole - none) / Math.max(1, asked - batch)
  const share = trains ? shares.solving : shares.solvingAlone
  const solvable = batch + (share * rest - none) / Math.max(each, 1e-12)
  const most = Math.min(asked, tokens)
  const calibration = may('calibration') ? cut(most, solvable, least.calibration, batch) : most
  const solving = rates.solving(calibration)
  return {
    tokens,
    calibration,
    writing,
    solving,
    left: seconds === undefined ? undefined : Math.max(0, rest - solving),
  }
}

/** Less of `wanted` where less fits, but not below `least`; a whole number of batches where it is cut. */
function cut(wanted: number, fits: number, least: number, batch: number): number {
  if (wanted <= Math.max(fits, least)) return wanted
  return Math.ceil(Math.max(fits, least) / batch) * batch
}
