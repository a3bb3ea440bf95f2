/** Splits documentation in reStructuredText, Markdown and HTML at its headings. */

import { parseHTML } from 'linkedom'
import { groupParagraphs } from './prose.js'
import { longest, type Piece, type SourceFile, shortest } from './source.js'

export interface Section {
  readonly title: string
  /** Without the heading. */
  readonly body: string
}

/** Directives with text for the reader; all others are removed with their contents. */
const readableDirectives = /^(?:note|warning|tip|important|hint|admonition|seealso)$/

/** Removes reStructuredText markup that means nothing without its tools. */
export function plainRst(text: string): string {
  const out: string[] = []
  const lines = text.replace(/\r\n?/g, '\n').replace(/\t/g, '    ').split('\n')
  for (let i = 0; i < lines.length; i++) {
    const directive = /^(\s*)\.\. (?:([\w-]+(?::[\w-]+)?)::|_[^:]+:|\[|\|)? ?(.*)$/.exec(lines[i])
    const isComment = /^\s*\.\.(?: |$)/.test(lines[i])
    if (!directive && !isComment) {
      out.push(lines[i])
      continue
    }
    const name = directive?.[2] ?? ''
    if (readableDirectives.test(name)) {
      out.push(
        `${directive?.[1] ?? ''}${name[0].toUpperCase()}${name.slice(1)}: ${directive?.[3] ?? ''}`.trimEnd(),
      )
      continue
    }
    const code = /^(?:code|code-block|sourcecode|ipython|prompt)$/.test(name)
    const depth = (directive?.[1] ?? '').length
    const isInside = (line: string): boolean => line.trim() === '' || /^ */.exec(line)![0].length > depth
    while (i + 1 < lines.length && isInside(lines[i + 1])) {
      i++
      if (code && !/^\s*:\w+:/.test(lines[i])) out.push(lines[i])
      else if (lines[i].trim() === '' && out.at(-1) !== '') out.push('')
    }
  }
  return out
    .join('\n')
    .replace(/:[\w-]+(?::[\w-]+)?:`[~.!_]*([^`<]*?)(?:\s*<[^>]*>)?`/g, '$1')
    .replace(/(?<!`)`([^`<]+?)\s*(?:<[^>`]*>)?`__?(?!\w)/g, '$1')
    .replace(/``([^`]+)``/g, '`$1`')
    .replace(/::$/gm, ':')
    .replace(/\n{3,}/g, '\n\n')
}

/** Sections of reStructuredText: a heading is a line underlined by a row of one punctuation mark of its length. */
export function rstSections(text: string): Section[] {
  const lines = text.split('\n')
  const sections: { title: string; body: string[] }[] = [{ title: '', body: [] }]
  for (let i = 0; i < lines.length; i++) {
    const isHeading =
      lines[i].trim() !== '' &&
      !/^[\s\W]*$/.test(lines[i]) &&
      /^([=\-~^"'#*+`_.:])\1{2,}\s*$/.test(lines[i + 1] ?? '') &&
      (lines[i + 1] ?? '').trim().length >= lines[i].trim().length
    if (isHeading) {
      sections.push({ title: lines[i].trim(), body: [] })
      i++
    } else if (!/^([=\-~^"'#*+])\1{2,}\s*$/.test(lines[i])) sections.at(-1)?.body.push(lines[i])
  }
  return sections.map(({ title, body }) => ({ title, body: tidy(body.join('\n')) }))
}

/** Sections of Markdown. */
export function markdownSections(text: string): Section[] {
  const sections: { title: string; body: string[] }[] = [{ title: '', body: [] }]
  let fenced = false
  const setext = text.replace(/\r\n?/g, '\n').replace(/^(\S.*)\n[=-]{3,}$/gm, '## $1')
  for (const line of setext.split('\n')) {
    if (/^\s*(```|~~~)/.test(line)) fenced = !fenced
    const heading = fenced ? null : /^#{1,6}\s+(.*?)\s*#*$/.exec(line)
    if (heading) sections.push({ title: heading[1], body: [] })
    else sections.at(-1)?.body.push(line)
  }
  return sections.map(({ title, body }) => ({ title, body: tidy(plainMarkdown(body.join('\n'))) }))
}

/** Markdown without comments, images, tags and link targets. */
const plainMarkdown = (text: string): string =>
  text
    .replace(/^---\n[\s\S]*?\n---\n/, '')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/\[?!\[[^\]]*\]\([^)]*\)(?:\]\([^)]*\))?/g, '')
    .replace(/\[([^\]]+)\]\([^)\s]*(?: "[^"]*")?\)/g, '$1')
    .replace(/\[([^\]]+)\]\[[^\]]*\]/g, '$1')
    .replace(/^\[[^\]]+\]: .*$/gm, '')
    .replace(/<\/?[a-zA-Z][^>\n]*>/g, '')
    .replace(/^#### ?/gm, '')

const tidy = (text: string): string =>
  text
    .replace(/[ \t]+$/gm, '')
    .replace(/\n{3,}/g, '\n\n')
    .replace(/^\n+|\s+$/g, '')

/** The properties used of an HTML node. */
interface HtmlNode {
  readonly nodeType: number
  readonly nodeName: string
  readonly textContent: string | null
  readonly childNodes: Iterable<HtmlNode>
}

/** HTML as text: blocks become paragraphs, preformatted text keeps its lines. */
export function htmlText(html: string): string {
  const { document } = parseHTML(`<!doctype html><html><body>${html}</body></html>`)
  for (const node of document.querySelectorAll('script,style,nav,header > a,img,svg,table,template'))
    node.remove()
  const out: string[] = []
  const visit = (node: HtmlNode): void => {
    if (node.nodeType === 3) out.push((node.textContent ?? '').replace(/\s+/g, ' '))
    if (node.nodeType !== 1) return
    const name = node.nodeName.toLowerCase()
    if (name === 'pre') out.push('\n\n', (node.textContent ?? '').replace(/\s+$/, ''), '\n\n')
    else if (/^h[1-6]$/.test(name))
      out.push('\n\n', (node.textContent ?? '').replace(/\s+/g, ' ').trim(), '\n\n')
    else {
      const isBlock = /^(?:p|div|ul|ol|dl|blockquote|section|article|header|body|main)$/.test(name)
      const isLine = /^(?:li|dt|dd|br|tr)$/.test(name)
      out.push(isBlock ? '\n\n' : isLine ? '\n' : '', name === 'li' ? '- ' : '')
      for (const child of node.childNodes) visit(child)
      if (isBlock) out.push('\n\n')
    }
  }
  visit(document.body)
  return tidy(
    out
      .join('')
      .replace(/(\n- )\s+/g, '$1')
      .replace(/(^|\n) +(?=\S)(?!\s{4})/g, '$1')
      .replace(/ +\n/g, '\n'),
  )
}

/** Documents of sections: long ones are split at paragraphs, short ones joined with those that follow. */
export function groupSections(sections: readonly Section[], title = true): string[] {
  const documents: string[] = []
  let open = ''
  const close = (): void => {
    if (open.length >= shortest) documents.push(open)
    open = ''
  }
  for (const section of sections) {
    if (section.body.length < 80) continue
    const text = title && section.title !== '' ? `${section.title}\n\n${section.body}` : section.body
    if (open.length + text.length + 2 > 3500) close()
    if (text.length > longest) documents.push(...groupParagraphs(text.split('\n\n')))
    else open = open === '' ? text : `${open}\n\n${text}`
    if (open.length > 1200) close()
  }
  close()
  return documents
}

type Sections = (text: string) => Section[]

const cutSections =
  (sections: Sections, language?: (path: string) => string | undefined) =>
  (files: readonly SourceFile[]): Piece[] =>
    files.flatMap(({ path, bytes }) => {
      const name = language?.(path)
      return groupSections(sections(bytes.toString('utf8'))).map((text) => ({
        text,
        ...(name && { language: name }),
      }))
    })

export const rst = cutSections((text) => rstSections(plainRst(text)))
export const markdown = (language?: (path: string) => string | undefined) =>
  cutSections(markdownSections, language)
export const html = (language?: (path: string) => string | undefined) =>
  cutSections(
    (text) => [{ title: '', body: htmlText(/<body[^>]*>([\s\S]*)<\/body>/i.exec(text)?.[1] ?? text) }],
    language,
  )
