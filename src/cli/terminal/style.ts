/** Styles and widths of lines. Colour is used on terminals, unless NO_COLOR or FORCE_COLOR says otherwise. */
import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'

type Style = 'bold' | 'green' | 'red'

interface Styled {
  readonly style: Style
  readonly text: string
}

/** Plain text, or text in a single style. */
export type Line = string | Styled

/** A heading. */
export const bold = (text: string): Line => ({ style: 'bold', text })
/** A gain. */
export const green = (text: string): Line => ({ style: 'green', text })

export const textOf = (line: Line): string => (typeof line === 'string' ? line : line.text)

/** A table with its first line as the heading. */
export const headed = ([head, ...lines]: readonly string[]): Line[] =>
  head === undefined ? [] : [bold(head), ...lines]

/** Applies the style if the stream supports it. @param text without control characters */
export const painted = (style: Style | undefined, text: string, stream: NodeJS.WriteStream): string =>
  style === undefined || text === '' ? text : styleText(style, text, { stream })

/** Columns of the terminal; otherwise the value of COLUMNS; undefined if there is no limit. */
export function columnsOf(stream: Pick<WriteStream, 'isTTY' | 'columns'>): number | undefined {
  const wanted = /^\d{1,4}$/.test(process.env.COLUMNS ?? '') ? Number(process.env.COLUMNS) : 0
  const columns = stream.isTTY ? stream.columns : wanted
  return columns > 0 ? Math.max(20, columns) : undefined
}

export const outputColumns = (): number | undefined => columnsOf(process.stdout)

/**
 * Wraps a line at spaces to at most `width` characters. Continuation lines are aligned with the text after a label, as in
 * `label  text`, or else indented by two more.
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
