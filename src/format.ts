/** Numbers, tables and text for display. */

/** Decimal units, as used for disks and downloads: `986 B`, `12.3 MB`, `1.24 GB`. */
export function humanBytes(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} B`
  return `${scaled(bytes)}B`
}

/** `6.2 GB`, for memory and disks. */
export const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`

/** `260k`, `1.24M`, `7.24G`. */
export function humanCount(count: number): string {
  return count < 1000 ? String(Math.round(count)) : scaled(count).replace(' ', '')
}

/** `1 thread`, `2 threads`. */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`

/** Three digits and a prefix: `12.3 M`. */
function scaled(value: number): string {
  const prefixes = ['k', 'M', 'G', 'T']
  let i = 0
  let number = value / 1000
  while (number >= 999.5 && i < prefixes.length - 1) {
    number /= 1000
    i++
  }
  return `${number.toFixed(number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2)} ${prefixes[i]}`
}

/**
 * Rows as lines with aligned columns, two spaces apart; columns named in `right` are aligned right, the others left. Invisible
 * characters in a cell are escaped. A table wider than `width` characters becomes a list: the first cell of a row on its own
 * line, and the others below it, each after its column's heading.
 */
export function table(
  rows: readonly (readonly string[])[],
  right: ReadonlySet<number>,
  width = Number.POSITIVE_INFINITY,
): string[] {
  const cells = rows.map((row) => row.map(visible))
  const widths: number[] = []
  for (const row of cells)
    for (const [c, cell] of row.entries()) widths[c] = Math.max(widths[c] ?? 0, cell.length)
  const line = (row: readonly string[]) =>
    row.map((cell, c) => (right.has(c) ? cell.padStart(widths[c]) : cell.padEnd(widths[c]))).join('  ')
  const full = widths.reduce((sum, each) => sum + each + 2, -2)
  return full > width && widths.length > 2 ? listed(cells) : cells.map((row) => line(row).trimEnd())
}

/** A column without a heading belongs to the one before it, e.g. the error of a value. */
function listed([header = [], ...rows]: readonly (readonly string[])[]): string[] {
  const longest = header.slice(1).reduce((most, { length }) => Math.max(most, length), 0)
  const lines = rows.map((row) => {
    const facts: [head: string, value: string][] = []
    for (const [c, cell] of row.entries()) {
      if (c === 0 || cell === '') continue
      const last = facts.at(-1)
      if (header[c] === '' && last) last[1] += ` ${cell}`
      else facts.push([header[c] ?? '', cell])
    }
    return [row[0] ?? '', ...facts.map(([head, value]) => `  ${head.padEnd(longest)}  ${value}`)]
  })
  return [header[0] ?? '', ...lines.flat()]
}

/**
 * Control characters, line and paragraph separators, lone surrogates, and invisible format characters, including bidirectional
 * controls; not the joiners, which the spelling of some languages and emoji needs.
 */
const unseen = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu
const named: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/**
 * Untrusted text on one line: every character that a terminal would act upon, or that is invisible, is written as its escape,
 * e.g. `\n`, `\x1b` or `\u202e`. Applying it again changes nothing.
 */
export function visible(text: string): string {
  return text.replace(unseen, (character) => {
    const code = character.codePointAt(0) ?? 0
    const hex = code.toString(16)
    if (code < 0x100) return named[character] ?? `\\x${hex.padStart(2, '0')}`
    return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`
  })
}

/** Text from a file, for a terminal: made visible, and at most `length` characters. */
export function plain(text: string, length = 80): string {
  const shown = visible(text.slice(0, length + 1))
  return shown.length > length ? `${withoutHalf(shown.slice(0, length - 3))}...` : shown
}

/** A sentence that may quote a text of any length: excess is cut from its middle. */
export function shortened(text: string, length: number): string {
  if (text.length <= length) return text
  const half = Math.floor((length - 5) / 2)
  return `${withoutHalf(text.slice(0, half))} ... ${text.slice(-half).replace(/^[\udc00-\udfff]/, '')}`
}

/** Drops half of a surrogate pair left by a cut. */
const withoutHalf = (text: string): string => text.replace(/[\ud800-\udbff]$/, '')

/** A value as JSON with invisible characters escaped. @param indent 0: on one line */
export function visibleJson(value: unknown, indent = 2): string {
  return JSON.stringify(value, undefined, indent).replace(unseen, (character) =>
    character === '\n' ? character : character.split('').map(jsonEscape).join(''),
  )
}

const jsonEscape = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`

/** A standard error, in the unit of the value before it; unknown for a single window. */
export const plusMinus = (se: number, digits: number): string =>
  `± ${Number.isFinite(se) ? se.toFixed(digits) : 'unknown'}`

/** Output of a native library as part of a sentence; it may include untrusted text from the file. */
export const oneLine = (text: string): string => plain(text.replace(/\s+/g, ' ').trim(), 300)
