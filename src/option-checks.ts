/** Options as a program gives them to the functions of quench: what the types cannot say is checked before any work. */
import { UsageError } from './errors.js'

/** What a number may be. */
export interface Range {
  readonly holds: (value: number) => boolean
  /** Ends the sentence "it must be". */
  readonly text: string
}

/** A whole number. */
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

/** As many as libllama takes. */
export const threadRange = whole(1, 512)

/**
 * Checks the options that are given, and every number of a list.
 * @throws UsageError that names the option and says what it must be
 */
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

/** Checks an option that takes one of a few words. @throws UsageError that names them */
export function checkChoice(name: string, value: unknown, choices: readonly string[]): void {
  if (value !== undefined && !choices.includes(value as string))
    throw new UsageError(`${name} is ${String(value)}; it must be one of ${choices.join(', ')}`)
}
