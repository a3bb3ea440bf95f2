/** Splits running text at the ends of its paragraphs. */

import { longest, type Piece, type SourceFile, shortest } from './source.js'

/** Lengths at which documents end, in rotation, so that short and long ones occur. */
const lengths = [1200, 2400, 1600, 3200, 900, 2000]

/** Joins the lines of each paragraph of a text. */
export const paragraphs = (text: string): string[] =>
  text
    .replace(/\r\n?/g, '\n')
    .split(/\n[ \t\u3000]*\n+/)
    .map((paragraph) => paragraph.replace(/[ \t]*\n[ \t]*/g, '\n').trim())
    .filter((paragraph) => paragraph !== '')

/** Groups whole paragraphs into documents. */
export function groupParagraphs(parts: readonly string[], separator = '\n\n'): string[] {
  const documents: string[] = []
  let open = ''
  for (const part of parts) {
    if (open !== '' && open.length + separator.length + part.length > longest) {
      documents.push(open)
      open = ''
    }
    open = open === '' ? part : open + separator + part
    if (
      open.length >= lengths[documents.length % lengths.length] &&
      (separator !== '\n' || /[.!?]$/.test(part))
    ) {
      documents.push(open)
      open = ''
    }
  }
  if (open.length >= shortest) documents.push(open)
  return documents.filter((document) => document.length >= shortest && document.length <= longest)
}

/** The book without Project Gutenberg's header and footer. */
function withoutFrame(text: string): string {
  const begin = /\*\*\* ?START OF (?:THIS|THE) PROJECT GUTENBERG[^\n]*\n/.exec(text)
  const rest = begin ? text.slice(begin.index + begin[0].length) : text
  const end =
    /\n[^\n]*(?:\*\*\* ?END OF (?:THIS|THE) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg)/i.exec(rest)
  return end ? rest.slice(0, end.index) : rest
}

export interface ProseOptions {
  readonly language?: string
  /** Characters to skip at the beginning: title pages, contents. */
  readonly skip?: number
  /** Each line is a line of verse. */
  readonly verse?: boolean
  /** Each line is a paragraph. */
  readonly linePerParagraph?: boolean
}

/** Splits each file of prose. */
export const prose =
  (options: ProseOptions = {}) =>
  (files: readonly SourceFile[]): Piece[] =>
    files.flatMap(({ bytes }) => {
      const book = withoutFrame(bytes.toString('utf8').replace(/^\uFEFF/, '')).slice(options.skip ?? 0)
      const parts =
        options.linePerParagraph || options.verse
          ? book
              .split('\n')
              .map((line) => line.trim())
              .filter((line) => line !== '')
          : paragraphs(book).map((part) => part.replace(/\n/g, ' '))
      const usable = parts.filter(
        (part) => !/^(?:\[Illustration|[*+] ?[*+]|CONTENTS|_分节)|00readme|<\/?\w+[^>]*>/.test(part),
      )
      return groupParagraphs(usable.slice(1), options.verse ? '\n' : '\n\n').map((text) => ({
        text,
        ...(options.language && { language: options.language }),
      }))
    })
