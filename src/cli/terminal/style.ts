/** Lines with a style, and how wide they may be. Colour is for terminals; NO_COLOR and FORCE_COLOR decide otherwise. */
import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'

type Style = 'bold' | 'green' | 'red'

interface Styled {
  readonly style: Style
  readonly text: string
}

/** Text as it is, or in one style from end to end. */
export type Line = string | Styled

/** A heading. */
export const bold = (text: string): Line => ({ style: 'bold', text })
/** What was won. */
export const green = (text: string): Line => ({ style: 'green', text })

export const textOf = (line: Line): string => (typeof line === 'string' ? line : line.text)

/** A table whose first line is its heading. */
export const headed = ([head, ...lines]: readonly string[]): Line[] =>
  head === undefined ? [] : [bold(head), ...lines]

/** In the style, where the stream shows any. @param text without control characters */
export const painted = (style: Style | undefined, text: string, stream: NodeJS.WriteStream): string =>
  style === undefined || text === '' ? text : styleText(style, text, { stream })

/** Columns of a terminal; elsewhere what COLUMNS says; undefined where nothing limits a line. */
export function columnsOf(stream: Pick<WriteStream, 'isTTY' | 'columns'>): number | undefined {
  const wanted = /^\d{1,4}$/.test(process.env.COLUMNS ?? '') ? Number(process.env.COLUMNS) : 0
  const columns = stream.isTTY ? stream.columns : wanted
  return columns > 0 ? Math.max(20, columns) : undefined
}

export const outputColumns = (): number | undefined => columnsOf(process.stdout)

/**
 * A line as lines of at most `width` characters, cut at spaces. Those after the first begin below what follows a label, as in
 * `label  text`, or else are indented by two more.
 */
export function wrapped(line: string, width: number | undefined): string[] {
  if (width === undefined || line.length <= width) return [line]
  const indent = /^ */.exec(line)?.[0].length ?? 0
  const label = /^ *\S+(?: \S+)* {2,}(?=\S)/.exec(line)?.[0].length ?? width
  const hanging = label <= width / 2 ? label : Math.min(indent + 2, 8)
  const lines: string[] = []
  let now = ''
  for (const word of line.match(/ *[^ ]+/g) ?? []) {
    if (now !== '' && now.length + word.length > width) {
      lines.push(now)
      now = ' '.repeat(hanging) + word.trimStart()
    } else now += word
  }
  return [...lines, now]
}
