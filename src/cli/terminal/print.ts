/**
 * Everything that the command prints goes through here, a line at a time. Names, metadata and reasons come from strangers'
 * files, so whatever is in a line stays in it: an escape code is shown and not obeyed, and a line break begins no line.
 */
import type { Failure } from '../../failures.js'
import { shortened, visible, visibleJson } from '../../format.js'

/** Longest line on standard error: a reason may quote metadata of megabytes. */
const longestMessage = 4000

/** Prints the lines of a result. */
export function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.map(visible).join('\n')}\n`)
}

/** Prints the one JSON document of `--json`. */
export function printJson(value: unknown): void {
  process.stdout.write(`${visibleJson(value)}\n`)
}

/** Prints one line on standard error. */
export function printError(message: string): void {
  process.stderr.write(`${visible(shortened(`quench: ${message}`, longestMessage))}\n`)
}

/** What a person should know although the work went on. */
export const printWarning = (warning: string): void => printError(`warning: ${warning}`)

/** Says which files were left out; a command that could not use one of its files has failed. */
export function reportFailures(failures: readonly Failure[]): void {
  for (const { problem } of failures) printError(problem)
  if (failures.length > 0) process.exitCode = 1
}

/** Where an error came from, for those who look for a bug. */
export function printStack(stack: string): void {
  process.stderr.write(`${stack.split('\n').map(visible).join('\n')}\n`)
}

/** Draws a line on standard error over the one that was drawn before; an empty one removes it. */
export function draw(line: string): void {
  const width = (process.stderr.columns ?? 80) - 1
  process.stderr.write(`\r\x1b[K${visible(line).slice(0, width)}`)
}
