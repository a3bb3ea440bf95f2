/** Makes conversations from questions and their answers. */

import { parse } from 'yaml'
import type { ShippedMessage as Message } from '../../src/data/shipped-texts.js'
import { markdownSections, plainRst, rstSections, type Section } from './markup.js'
import { longest, type Piece, type SourceFile, shortest } from './source.js'

const size = (messages: readonly Message[]): number =>
  messages.reduce((sum, { content }) => sum + content.length, 0)

/** Joins consecutive exchanges until a conversation is long enough. */
export function joinExchanges(
  exchanges: readonly (readonly Message[])[],
  enough: number,
  language?: string,
): Piece[] {
  const pieces: Piece[] = []
  let open: Message[] = []
  const close = (): void => {
    if (size(open) >= shortest) pieces.push({ messages: open, ...(language && { language }) })
    open = []
  }
  for (const exchange of exchanges) {
    if (size(exchange) > longest) continue
    if (size(open) + size(exchange) > longest) close()
    open = [...open, ...exchange]
    if (size(open) >= enough) close()
  }
  close()
  return pieces
}

/** A question and its answer. */
export const exchange = (question: string, answer: string): Message[] => [
  { role: 'user', content: question.trim() },
  { role: 'assistant', content: answer.trim() },
]

const questions =
  (sections: (text: string) => Section[], enough: number) =>
  (files: readonly SourceFile[]): Piece[] =>
    files.flatMap(({ bytes }) => {
      const asked = sections(bytes.toString('utf8')).filter(
        ({ title, body }) => /\?\W*$/.test(title) && body.length > 60,
      )
      return joinExchanges(
        asked.map(({ title, body }) =>
          exchange(title.replace(/[`*]+/g, ''), body.replace(/^\*\*Answer:?\*\*:? */, '')),
        ),
        enough,
        'en',
      )
    })

/** Sections of reStructuredText and Markdown whose headings are questions. */
export const rstQuestions = questions((text) => rstSections(plainRst(text)), 900)
export const markdownQuestions = questions(markdownSections, 900)

interface Corpus {
  readonly conversations: readonly unknown[]
}

/** Language codes by the corpus's folder names. */
const languageCodes: Readonly<Record<string, string>> = {
  bengali: 'bn',
  chinese: 'zh-CN',
  dutch: 'nl',
  english: 'en',
  french: 'fr',
  german: 'de',
  hebrew: 'he',
  hindi: 'hi',
  hinglish: 'hi-Latn',
  indonesian: 'id',
  italian: 'it',
  japanese: 'ja',
  korean: 'ko',
  marathi: 'mr',
  oriya: 'or',
  persian: 'fa',
  portuguese: 'pt',
  russian: 'ru',
  spanish: 'es',
  swedish: 'sv',
  tamil: 'ta',
  telugu: 'te',
  thai: 'th',
  traditionalchinese: 'zh-TW',
  turkish: 'tr',
  ukrainian: 'uk',
  urdu: 'ur',
  yoruba: 'yo',
}

/** A chatbot corpus: lists of turns, the user's first, with the language as the file's folder. */
export const turnLists = (files: readonly SourceFile[]): Piece[] =>
  files.flatMap(({ path, bytes }) => {
    const { conversations } = parse(bytes.toString('utf8'), { uniqueKeys: false }) as Corpus
    const exchanges = conversations
      .filter((turns): turns is unknown[] => Array.isArray(turns))
      .map((turns) =>
        turns.filter((turn): turn is string => typeof turn === 'string').map((turn) => turn.trim()),
      )
      .map((turns) => turns.slice(0, turns.length - (turns.length % 2)))
      .filter((turns) => turns.length >= 2 && turns.every((turn) => turn !== ''))
      .map((turns) => turns.map((content, i): Message => ({ role: i % 2 ? 'assistant' : 'user', content })))
    return joinExchanges(exchanges, 1200, languageCodes[path.split('/').at(-2) ?? ''])
  })

/** Examples of reasoning, `Q: …` and `A: …`, under a line that states the task. */
export const reasoning =
  (language: string) =>
  (files: readonly SourceFile[]): Piece[] =>
    files.flatMap(({ bytes }) => {
      const [task, ...examples] = bytes
        .toString('utf8')
        .replace(/\r/g, '')
        .split(/\n+Q[:：] ?/)
      const exchanges = examples
        .map((example) => example.split(/\nA[:：] ?/))
        .filter((parts) => parts.length === 2)
      return joinExchanges(
        exchanges.map(([question, answer]) => exchange(`${task.trim()}\n\n${question}`, answer)),
        700,
        language,
      )
    })

interface Task {
  readonly fewshot_config: {
    readonly samples: readonly { readonly question: string; readonly target: string }[]
  }
}

/** Examples of solved problems, from the description of a task. */
export const solvedProblems = (files: readonly SourceFile[]): Piece[] =>
  files.flatMap(({ bytes }) => {
    const { fewshot_config } = parse(bytes.toString('utf8')) as Task
    return joinExchanges(
      fewshot_config.samples.map(({ question, target }) => exchange(question, target)),
      700,
      'en',
    )
  })

/** Lessons of a workshop: each folder has a task and its solution, in several languages. */
export function lessons(task: RegExp, solution: (path: string) => string, enough = 1200) {
  return (files: readonly SourceFile[]): Piece[] => {
    const byPath = new Map(files.map(({ path, bytes }) => [path, bytes.toString('utf8')]))
    const exchanges = new Map<string, Message[][]>()
    for (const [path, text] of byPath) {
      const language = task.exec(path)
      const answer = language && byPath.get(solution(path))
      if (!language || !answer) continue
      const name = language[1] ?? 'en'
      exchanges.set(name, [...(exchanges.get(name) ?? []), exchange(lessonText(text), lessonText(answer))])
    }
    return [...exchanges].flatMap(([language, list]) => joinExchanges(list, enough, language))
  }
}

const lessonText = (text: string): string =>
  text
    .replace(/^---\s*$/gm, '')
    .replace(/\[([^\]]+)\]\([^)\s]*\)/g, '$1')
    .replace(/\{(?:appname|rootdir|boldTitle|lang)[^}]*\}/g, '')
    .replace(/\n{3,}/g, '\n\n')
