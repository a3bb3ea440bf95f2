/** What the table of a run's options (table.ts) says of each. */
import type { Range } from '../option-checks.js'

/** The kind of value that an option takes on the command line. */
export type Takes =
  | 'count'
  | 'positive count'
  | 'share'
  | 'rate'
  | 'bytes'
  | 'time'
  | 'time or 0'
  | 'path'
  | 'paths'
  | 'nothing'
  | 'tensor type'
  | 'tensor types'
  | readonly string[]

/** Titles of the groups of options, in the order of the help. */
export const optionGroups = {
  text: 'Training text',
  types: 'Types of tensors',
  size: 'Time and memory',
  method: 'Method and rates',
  run: 'Interrupting and resuming',
} as const

export interface OptionEntry {
  readonly group: keyof typeof optionGroups
  /** In commander's syntax. */
  readonly flags: string
  readonly help: string
  readonly takes: Takes
  /** Valid numbers in the API. */
  readonly range?: Range
  /** Follows "default: " in the help. */
  readonly default?: string
  /** A resumed run must have the same value. */
  readonly same?: true
}
