/** Numbers and tables for people. */

/** Decimal units, as disks and downloads are sold: `986 B`, `12.3 MB`, `1.24 GB`. */
export function humanBytes(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} B`
  return `${scaled(bytes)}B`
}

/** `260k`, `1.24M`, `7.24G` of something. */
export function humanCount(count: number): string {
  return count < 1000 ? String(Math.round(count)) : scaled(count).replace(' ', '')
}

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

/** Rows as lines with aligned columns, two spaces apart; columns named in `right` end flush, the others start flush. */
export function table(rows: readonly (readonly string[])[], right: ReadonlySet<number>): string {
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, c) =>
    Math.max(...rows.map((row) => row[c]?.length ?? 0)),
  )
  const line = (row: readonly string[]) =>
    row.map((cell, c) => (right.has(c) ? cell.padStart(widths[c]) : cell.padEnd(widths[c]))).join('  ')
  return `${rows.map((row) => line(row).trimEnd()).join('\n')}\n`
}

/** Text out of a file, for a terminal: no control characters, and at most `length` characters. */
export function plain(text: string, length = 80): string {
  const clipped = text.length > length ? `${text.slice(0, length - 3)}...` : text
  return clipped.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?')
}
