/** Markdown tables of text that may come from strangers' files. */
import { visible } from '../format.js'

/** Escapes what Markdown or the HTML inside it would take for markup. */
export function markdownText(text: string): string {
  return visible(text)
    .replace(/[\\`*_{}[\]#|~$]/g, '\\$&')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
}

/** The lines of a table whose first column is text and whose others are numbers, flush right. */
export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map(markdownText).join(' | ')} |`
  return [line(header), `|---${'|---:'.repeat(header.length - 1)}|`, ...rows.map(line)]
}
