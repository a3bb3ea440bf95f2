/** Checks of API options, before any work, of constraints that types cannot express. */
import { distance } from 'fastest-levenshtein'
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

/** The names of options. TypeScript demands all of them. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: true }

/**
 * Refuses names that are no options: they would be ignored, e.g. `tokens` where `maxTokens` is meant.
 * @throws UsageError that names the option, and a similar one if there is any
 */
export function checkOptionNames<Options extends object>(
  options: Options,
  names: OptionNames<Options>,
): void {
  const known = Object.keys(names)
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(names, name))
  if (unknown === undefined) return
  const similar = similarTo(unknown, known)
  const advice = similar ? `did you mean ${similar}?` : `there are ${known.join(', ')}`
  throw new UsageError(`there is no option ${unknown}; ${advice}`)
}

/** The name that is most likely meant; undefined if none is similar. */
export function similarTo(given: string, names: readonly string[]): string | undefined {
  const bare = (name: string): string => name.toLowerCase().replace(/[-_ ]/g, '')
  const wanted = bare(given)
  const scored = names.map((name) => {
    const candidate = bare(name)
    const isPart =
      Math.min(wanted.length, candidate.length) > 2 &&
      (candidate.includes(wanted) || wanted.includes(candidate))
    const most = Math.ceil(0.4 * Math.max(wanted.length, candidate.length))
    const edits = distance(wanted, candidate)
    return { name, rank: candidate.startsWith(wanted) ? 0 : edits, similar: isPart || edits < most }
  })
  return scored.filter(({ similar }) => similar).sort((a, b) => a.rank - b.rank)[0]?.name
}

/** Advice for a value that is none of `choices`: `did you mean Q4_K_M? choose one of ...`. */
export function choice(given: string, choices: readonly string[]): string {
  const similar = similarTo(given, choices)
  return `${similar === undefined ? '' : `did you mean ${similar}? `}choose one of ${choices.join(', ')}`
}

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
