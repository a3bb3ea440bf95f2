/** Markdown tables of untrusted text. */
import { visible } from '../format.js'

/** Escapes text that Markdown, or HTML inside it, would read as markup. */
export function markdownText(text: string): string {
  return visible(text)
    .replace(/[\\`*_{}[\]#|~$]/g, '\\$&')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
}

/** The lines of a table whose first column is text and whose other columns are numbers, aligned right. */
export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map(markdownText).join(' | ')} |`
  return [line(header), `|---${'|---:'.repeat(header.length - 1)}|`, ...rows.map(line)]
}
