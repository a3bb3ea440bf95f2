/** The options of `quench train`, generated from the table of options (config/table.ts). */
import { Option, type OptionValues } from 'commander'
import type { OptionEntry, Takes } from '../../config/entry.js'
import type { TrainOptions } from '../../config/options.js'
import { optionEntries } from '../../config/table.js'
import {
  bytes,
  positiveInteger,
  positiveNumber,
  seconds,
  secondsFromZero,
  share,
  wholeNumber,
} from '../options.js'
import { rulesOf, tensorType, tensorTypeRule } from '../tensor-types.js'

const parsers: Readonly<
  Record<
    Exclude<Takes, readonly string[] | 'path' | 'paths' | 'nothing'>,
    (text: string, before: never) => unknown
  >
> = {
  count: wholeNumber,
  'positive count': positiveInteger,
  share,
  rate: positiveNumber,
  bytes,
  time: seconds,
  'time or 0': secondsFromZero,
  'tensor type': tensorType,
  'tensor types': tensorTypeRule,
}

export function trainOption({ flags, help, takes, default: preset }: OptionEntry): Option {
  const isChoice = typeof takes === 'object'
  const option = new Option(flags, preset === undefined || isChoice ? help : `${help} (default: ${preset})`)
  if (isChoice) option.choices(takes).default(preset)
  else if (takes !== 'path' && takes !== 'paths' && takes !== 'nothing')
    option.argParser(parsers[takes] as (text: string, before: unknown) => unknown)
  return option
}

/** The given options, by their names in the API. @throws FileError for a file of types that is none */
export async function trainValues(typed: OptionValues): Promise<Partial<TrainOptions>> {
  const values = optionEntries.map(([name, { flags }]) => [name, typed[new Option(flags).attributeName()]])
  const given: Partial<TrainOptions> = Object.fromEntries(values.filter(([, value]) => value !== undefined))
  return { ...given, ...(given.tensorTypes && { tensorTypes: await rulesOf(typed.tensorType) }) }
}
