import type { Writing } from '../config/plan.js'
/** How a run divides its time budget: self-written text, the block-wise stage, and the rest for steps. */

/** Defaults that may be reduced so that a run fits in its time. */
export type Adjustable = 'tokens' | 'calibration'

/**
 * Largest shares of writing (of the total time) and of solving (of the time after writing). Until solving has enough tokens, more of
 * them gain more in the same time than steps do. If no steps follow, a little is left for the output.
 */
const shares = { writing: 0.1, solving: 0.85, solvingAlone: 0.95 }
/** They are not cut below these tokens, however short the time: fewer are worth little. */
const least = { tokens: 16_384, calibration: 8192 }

interface Wanted {
  /** Tokens of the training text, of calibration and of a step. */
  readonly text: number
  readonly calibration: number
  readonly batch: number
  /** Total time; undefined: unlimited. */
  readonly seconds: number | undefined
  readonly writing?: Writing
  readonly adjustable?: ReadonlySet<Adjustable>
  /** Whether steps follow the block-wise stage; otherwise text beyond calibration is useless. Default true. */
  readonly trains?: boolean
}

interface TimeBudget {
  readonly tokens: number
  readonly calibration: number
  readonly writing: Writing & { readonly seconds: number }
  /** Seconds of the block-wise stage. */
  readonly solving: number
  /** Seconds left for steps; undefined: unlimited. */
  readonly left: number | undefined
}

/**
 * @param rates tokens per second that the model writes, and seconds of the block-wise stage by calibration tokens, assumed linear
 */
export function budgetTime(
  { text, calibration: asked, batch, seconds, writing: unwritten, adjustable, trains = true }: Wanted,
  rates: { readonly writing: number; readonly solving: (calibration: number) => number },
): TimeBudget {
  const may = (what: Adjustable): boolean => seconds !== undefined && (adjustable?.has(what) ?? false)
  const useful = trains || !adjustable?.has('tokens') ? text : Math.min(text, Math.max(asked, batch))
  const { tokens: all, ...bytes } = unwritten ?? { tokens: 0, text: 0, copy: 0 }
  // This share of the text is unwritten, also if the text is cut.
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

/** Cuts `wanted` to a number of whole batches that fits, but not below `least`. */
function cut(wanted: number, fits: number, least: number, batch: number): number {
  if (wanted <= Math.max(fits, least)) return wanted
  return Math.ceil(Math.max(fits, least) / batch) * batch
}
