/** Splits sources whose files have their own formats. */

import { htmlText } from './markup.js'
import { groupParagraphs } from './prose.js'
import { longest, type Piece, type SourceFile, shortest } from './source.js'

const json = ({ bytes }: SourceFile): unknown => JSON.parse(bytes.toString('utf8'))

/** The Universal Declaration of Human Rights, one page per language, named by a three-letter code. */
export const declarations =
  (languages: Readonly<Record<string, string>>) =>
  (files: readonly SourceFile[]): Piece[] =>
    files.flatMap(({ path, bytes }) => {
      const language = languages[/([^/]+)\.html$/.exec(path)?.[1] ?? '']
      if (!language) return []
      const body = /<body>([\s\S]*)<\/body>/.exec(bytes.toString('utf8'))?.[1] ?? ''
      return groupParagraphs(htmlText(body).split('\n\n')).map((text) => ({ text, language }))
    })

/** Pages of documentation in HTML, by locale and path. */
export const electronDocs = (files: readonly SourceFile[]): Piece[] =>
  files.flatMap((file) =>
    Object.entries(json(file) as Record<string, Record<string, { html: string; isTutorial: boolean }>>)
      .filter(([locale]) => locale !== 'en-US')
      .flatMap(([locale, pages]) =>
        Object.values(pages)
          .filter(({ isTutorial }) => isTutorial)
          .flatMap(({ html }) =>
            groupParagraphs(
              htmlText(html)
                .split('\n\n')
                .filter((part) => !/^(?:title:|hide_title)/.test(part)),
            ),
          )
          .map((text) => ({ text, language: locale })),
      ),
  )

type Fact = { readonly text?: string } & { readonly [name: string]: Fact | string | undefined }

/** Country profiles: a heading and its texts, without those that are mostly figures. */
export const countries = (files: readonly SourceFile[]): Piece[] =>
  files.flatMap((file) => {
    const facts = (fact: Fact): string[] =>
      Object.entries(fact).flatMap(([name, value]) => {
        if (typeof value !== 'object' || value === null) return []
        const text = value.text ?? ''
        const isProse =
          text.length > 150 && (text.match(/\d/g)?.length ?? 0) < text.length * 0.05 && !/\+\+|\[/.test(text)
        return [...(isProse ? [`${name[0].toUpperCase()}${name.slice(1)}: ${text}`] : []), ...facts(value)]
      })
    return groupParagraphs(facts(json(file) as Fact)).map((text) => ({ text }))
  })

interface Entry {
  readonly term: string
  readonly senses: readonly { readonly definition: string }[]
}

/** Entries of a glossary, several per document. */
export const glossary = (files: readonly SourceFile[]): Piece[] =>
  files.flatMap((file) =>
    groupParagraphs(
      (json(file) as Entry[])
        .map(({ term, senses }) => `${term}: ${senses.map(({ definition }) => definition).join(' ')}`)
        // biome-ignore lint/suspicious/noControlCharactersInRegex: the glossary marks links with terminal colours
        .map((entry) => entry.replace(/\u001B\[\d*m/g, '').replace(/\s+/g, ' '))
        .filter((entry) => entry.length > 200 && !/[^\s]@[^\s]/.test(entry)),
    ).map((text) => ({ text })),
  )

/** Help pages of nodes, in the folder of their locale. */
export const nodeHelp = (files: readonly SourceFile[]): Piece[] => {
  const byLanguage = new Map<string, string[]>()
  for (const { path, bytes } of files) {
    const language = /locales\/([^/]+)\//.exec(path)?.[1] ?? ''
    const pages = [
      ...bytes
        .toString('utf8')
        .matchAll(/<script type="text\/[^"]*" data-help-name="[^"]*">([\s\S]*?)<\/script>/g),
    ]
    const texts = pages
      .map((page) => htmlText(page[1].replaceAll('<span class="property-type">', ' <span>')))
      .filter((text) => text.length > 200 && text.length < longest)
    byLanguage.set(language, [...(byLanguage.get(language) ?? []), ...texts])
  }
  return [...byLanguage].flatMap(([language, texts]) => {
    const documents: string[] = []
    for (const text of texts) {
      const last = documents.at(-1)
      if (last !== undefined && last.length < shortest) documents[documents.length - 1] = `${last}\n\n${text}`
      else documents.push(text)
    }
    return documents.map((text) => ({ text, language }))
  })
}

/** A play in Markdown as a text of names and speeches. */
export const plays = (files: readonly SourceFile[]): Piece[] =>
  files.flatMap(({ bytes }) => {
    const speeches = bytes
      .toString('utf8')
      .replace(/\*\*/g, '')
      .replace(/^_(.*)_$/gm, '[$1]')
      .split(/\n\n(?=[A-Z][A-Z ]+ *\n)/)
      .map((speech) =>
        speech
          .replace(/^#.*$/gm, '')
          .replace(/ +$/gm, '')
          .replace(/\n{2,}/g, '\n')
          .trim(),
      )
    return groupParagraphs(speeches.slice(1)).map((text) => ({ text }))
  })

/** Example sentences, a list of strings in a Python module per language; a document has several languages. */
export const sentences = (files: readonly SourceFile[]): Piece[] => {
  const string = /^ +(["'])((?:(?!\1)[^\\])+)\1,?$/gm
  const lists = files.map(({ bytes }) =>
    Array.from(bytes.toString('utf8').matchAll(string), (line) => line[2]).join('\n'),
  )
  return groupParagraphs(lists.filter((list) => list !== '')).map((text) => ({ text, language: 'mul' }))
}
