/**
 * HTML as template literals in which every value is escaped, since names, texts and metadata are untrusted. Only the result of
 * another `html` template or of `trusted` is inserted unescaped.
 */
export class Html {
  constructor(readonly source: string) {}
}

export type HtmlValue = string | number | Html | undefined | readonly HtmlValue[]

/** Markup made by this program, e.g. a plot. */
export const trusted = (source: string): Html => new Html(source)

export function html(parts: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(parts.reduce((text, part, i) => text + render(values[i - 1]) + part))
}

function render(value: HtmlValue): string {
  if (value === undefined) return ''
  if (value instanceof Html) return value.source
  if (Array.isArray(value)) return value.map(render).join('')
  return escapeHtml(String(value))
}

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** For text and quoted attributes; removes characters that HTML does not allow and bidirectional controls. */
export function escapeHtml(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (c) =>
      c === '\n' || c === '\t' ? c : '\ufffd',
    )
    .replace(/[&<>"']/g, (c) => entities[c])
}
