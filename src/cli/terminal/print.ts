/**
 * All output of the command passes through here, one line at a time. Names, metadata and reasons come from untrusted files, so control
 * characters are escaped: escape sequences are displayed instead of interpreted, and line breaks do not start a line.
 */
import type { Failure } from '../../failures.js'
import { shortened, visible, visibleJson } from '../../format.js'
import type { CommandEvent } from './events.js'
import { type Line, outputColumns, painted, textOf, wrapped } from './style.js'

/** Longest line on standard error: a reason may quote metadata of megabytes. */
const longestMessage = 4000

/** Prints the lines of a result, wrapped at the terminal's width. */
export function print(lines: readonly Line[]): void {
  const width = outputColumns()
  const shown = lines.flatMap((line) => {
    const style = typeof line === 'string' ? undefined : line.style
    return wrapped(visible(textOf(line)), width).map((part) => painted(style, part, process.stdout))
  })
  process.stdout.write(`${shown.join('\n')}\n`)
}

/** Prints machine-readable lines without wrapping: Markdown, CSV, a script. */
export function printVerbatim(lines: readonly string[]): void {
  process.stdout.write(`${lines.map(visible).join('\n')}\n`)
}

/** Prints the JSON document of `--json`. */
export function printJson(value: unknown): void {
  process.stdout.write(`${visibleJson(value)}\n`)
}

let asEvents = false

/** From now on messages are written to standard error as events. */
export function printEvents(): void {
  asEvents = true
}

/** Prints an error on one line. @param exitCode of the command, if the error ends it */
export const printError = (message: string, exitCode?: number): void => say('error', message, exitCode)

/** Prints a warning; the work continues. */
export const printWarning = (warning: string): void => say('warning', warning)

/** Prints a note about the progress of the command. */
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

/** Prints which files were left out and sets the exit code to 1. */
export function reportFailures(failures: readonly Failure[]): void {
  for (const { problem } of failures) printError(problem)
  if (failures.length > 0) process.exitCode = 1
}

/** Prints the stack trace of an error, for debugging. */
export function printStack(stack: string): void {
  if (asEvents) printNote(stack)
  else process.stderr.write(`${stack.split('\n').map(visible).join('\n')}\n`)
}

/** Draws a line on standard error in place of the previous one; an empty line removes it. */
export function draw(line: string): void {
  // Some terminals, e.g. of containers, report zero columns.
  const width = (process.stderr.columns || 80) - 1
  process.stderr.write(`\r\x1b[K${visible(line).slice(0, width)}`)
}

/** Changes what a library prints through the console from now on. */
export function changeLogged(change: (text: string) => string): void {
  const { log } = console
  console.log = (text: string) => log(change(text))
}
