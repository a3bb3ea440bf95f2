/**
 * Everything that the command prints goes through here, a line at a time. Names, metadata and reasons come from strangers'
 * files, so whatever is in a line stays in it: an escape code is shown and not obeyed, and a line break begins no line.
 */
import type { Failure } from '../../failures.js'
import { shortened, visible, visibleJson } from '../../format.js'
import type { CommandEvent } from './events.js'
import { type Line, outputColumns, painted, textOf, wrapped } from './style.js'

/** Longest line on standard error: a reason may quote metadata of megabytes. */
const longestMessage = 4000

/** Prints the lines of a result for a person: no wider than the terminal. */
export function print(lines: readonly Line[]): void {
  const width = outputColumns()
  const shown = lines.flatMap((line) => {
    const style = typeof line === 'string' ? undefined : line.style
    return wrapped(visible(textOf(line)), width).map((part) => painted(style, part, process.stdout))
  })
  process.stdout.write(`${shown.join('\n')}\n`)
}

/** Prints lines for a program: Markdown, comma-separated values, a script. */
export function printVerbatim(lines: readonly string[]): void {
  process.stdout.write(`${lines.map(visible).join('\n')}\n`)
}

/** Prints the one JSON document of `--json`. */
export function printJson(value: unknown): void {
  process.stdout.write(`${visibleJson(value)}\n`)
}

let asEvents = false

/** From now on standard error holds one JSON document a line. */
export function printEvents(): void {
  asEvents = true
}

/** Prints what went wrong, on one line. @param exitCode of the command, if this ends it */
export const printError = (message: string, exitCode?: number): void => say('error', message, exitCode)

/** What a person should know although the work went on. */
export const printWarning = (warning: string): void => say('warning', warning)

/** What the command does. */
export const printNote = (message: string): void => say('note', message)

function say(event: 'note' | 'warning' | 'error', message: string, exitCode?: number): void {
  if (asEvents) {
    printEvent({ event, message, ...(exitCode !== undefined && { exitCode }), ...stamp() })
    return
  }
  const text = `quench: ${event === 'warning' ? 'warning: ' : ''}${message}`
  const line = visible(shortened(text, longestMessage))
  process.stderr.write(`${painted(event === 'error' ? 'red' : undefined, line, process.stderr)}\n`)
}

export const stamp = (): { readonly v: 1; readonly time: string } => ({
  v: 1,
  time: new Date().toISOString(),
})

export function printEvent({ v, event, ...rest }: CommandEvent): void {
  process.stderr.write(`${visibleJson({ v, event, ...rest }, 0)}\n`)
}

/** Says which files were left out; a command that could not use one of its files has failed. */
export function reportFailures(failures: readonly Failure[]): void {
  for (const { problem } of failures) printError(problem)
  if (failures.length > 0) process.exitCode = 1
}

/** Where an error came from, for those who look for a bug. */
export function printStack(stack: string): void {
  if (asEvents) printNote(stack)
  else process.stderr.write(`${stack.split('\n').map(visible).join('\n')}\n`)
}

/** Draws a line on standard error over the one that was drawn before; an empty one removes it. */
export function draw(line: string): void {
  // Some terminals, e.g. of containers, say that they have no columns.
  const width = (process.stderr.columns || 80) - 1
  process.stderr.write(`\r\x1b[K${visible(line).slice(0, width)}`)
}
