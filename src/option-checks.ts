/** Checks of API options, before any work, of constraints that types cannot express. */
import { UsageError } from './errors.js'

/** Constraint on a number. */
export interface Range {
  readonly holds: (value: number) => boolean
  /** Completes the sentence "it must be". */
  readonly text: string
}

/** An integer in a range. */
export const whole = (least: number, most = Number.MAX_SAFE_INTEGER): Range => ({
  holds: (value) => Number.isSafeInteger(value) && value >= least && value <= most,
  text: `a whole number from ${least}${most === Number.MAX_SAFE_INTEGER ? '' : ` to ${most}`}`,
})

export const aboveZero: Range = {
  holds: (value) => Number.isFinite(value) && value > 0,
  text: 'a number above 0',
}

export const fromZero: Range = {
  holds: (value) => Number.isFinite(value) && value >= 0,
  text: 'a number from 0',
}

export const share: Range = { holds: (value) => value >= 0 && value <= 1, text: 'a number from 0 to 1' }

/** The range that libllama accepts. */
export const threadRange = whole(1, 512)

/** Checks the given options, and every number of a list. @throws UsageError that names the option and its constraint */
export function checkNumbers<Options extends object>(
  options: Options,
  ranges: { readonly [Name in keyof Options]?: Range },
): void {
  for (const name of Object.keys(ranges) as (keyof Options & string)[]) {
    const given: unknown = options[name]
    const range = ranges[name] as Range
    for (const value of Array.isArray(given) ? given : [given])
      if (value !== undefined && !(typeof value === 'number' && range.holds(value)))
        throw new UsageError(`${name} is ${String(value)}; it must be ${range.text}`)
  }
}

/** Checks an option with a fixed set of values. @throws UsageError that lists them */
export function checkChoice(name: string, value: unknown, choices: readonly string[]): void {
  if (value !== undefined && !choices.includes(value as string))
    throw new UsageError(`${name} is ${String(value)}; it must be one of ${choices.join(', ')}`)
}
