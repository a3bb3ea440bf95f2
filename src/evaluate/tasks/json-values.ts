/** Finds JSON in other text, e.g. between sentences. */

interface Open {
  readonly start: number
  readonly close: '}' | ']'
  /** What may follow. */
  expects: 'first' | 'key' | 'colon' | 'value' | 'rest'
}

const scalar = /"[^"\\\r\n]*(?:\\.[^"\\\r\n]*)*"|-?\d[\d.eE+-]*|true|false|null/y
const blank = /[ \t\r\n]*/y

/**
 * The outermost JSON objects and lists of a text, in order, in linear time. Brackets that do not enclose valid JSON are
 * skipped: complete values within them count, and the scan resumes after the innermost of them.
 */
export function jsonValues(text: string): unknown[] {
  const values: { readonly start: number; readonly value: unknown }[] = []
  const found: { start: number; end: number }[] = []
  let at = 0
  const open: Open[] = []
  while (at < text.length) {
    const next = open.length === 0 ? at : skip(text, at)
    const top = open[open.length - 1]
    const token = text[next]
    if ((token === '{' || token === '[') && (!top || startsValue(top))) {
      if (top) top.expects = 'rest'
      open.push({ start: next, close: token === '{' ? '}' : ']', expects: 'first' })
      at = next + 1
    } else if (!top) at++
    else if (token === top.close && (top.expects === 'first' || top.expects === 'rest')) {
      open.pop()
      at = next + 1
      while (found.length > 0 && found[found.length - 1].start > top.start) found.pop()
      found.push({ start: top.start, end: at })
    } else {
      const end = advance(top, text, next)
      if (end !== undefined) at = end
      else {
        open.length = 0
        at = top.start + 1
        while (found.length > 0 && found[found.length - 1].start > top.start) found.pop()
      }
    }
  }
  for (const { start, end } of found)
    try {
      values.push({ start, value: JSON.parse(text.slice(start, end)) })
    } catch {
      // e.g. a number such as 1.2.3
    }
  return values.map(({ value }) => value)
}

const startsValue = ({ close, expects }: Open): boolean =>
  expects === 'value' || (expects === 'first' && close === ']')

/** The position after a comma, colon, key or scalar that is allowed here. */
function advance(top: Open, text: string, at: number): number | undefined {
  const token = text[at]
  if (top.expects === 'rest') {
    if (token !== ',') return undefined
    top.expects = top.close === '}' ? 'key' : 'value'
    return at + 1
  }
  if (top.expects === 'colon') {
    if (token !== ':') return undefined
    top.expects = 'value'
    return at + 1
  }
  const key = top.expects === 'key' || (top.expects === 'first' && top.close === '}')
  if (key && token !== '"') return undefined
  scalar.lastIndex = at
  if (!scalar.test(text)) return undefined
  top.expects = key ? 'colon' : 'rest'
  return scalar.lastIndex
}

function skip(text: string, at: number): number {
  blank.lastIndex = at
  blank.test(text)
  return blank.lastIndex
}
