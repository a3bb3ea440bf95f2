/** Splits source code between its top-level definitions. */

import { longest, type Piece, type SourceFile, shortest } from './source.js'

const languages: Readonly<Record<string, string>> = {
  py: 'Python',
  pyx: 'Cython',
  js: 'JavaScript',
  mjs: 'JavaScript',
  ts: 'TypeScript',
  tsx: 'TypeScript',
  c: 'C',
  h: 'C',
  cc: 'C++',
  cpp: 'C++',
  rs: 'Rust',
  go: 'Go',
  java: 'Java',
  kt: 'Kotlin',
  sh: 'Shell',
  bash: 'Shell',
  sql: 'SQL',
  html: 'HTML',
  css: 'CSS',
  scss: 'CSS',
  m: 'Objective-C',
  mm: 'Objective-C',
  swift: 'Swift',
  rb: 'Ruby',
  php: 'PHP',
  cs: 'C#',
  lua: 'Lua',
}

/** The code without its licence comment. */
function withoutLicense(code: string): string {
  const comment = /^(?:#!.*\n)?\s*(?:\/\*[\s\S]*?\*\/|<!--[\s\S]*?-->|(?:(?:\/\/|#|--).*\n)+)\s*/.exec(code)
  return comment && /copyright|licen[cs]e|@generated/i.test(comment[0]) ? code.slice(comment[0].length) : code
}

/** Whether a line can begin a document: it is not within a block. */
const begins = (line: string): boolean =>
  /^[^\s})\]#*;,]/.test(line) && !/^(?:else|catch|finally|except|end\b|fi\b|done\b|esac\b|<\/)/.test(line)

function cutCode(code: string): string[] {
  const lines = code
    .replace(/\r\n?/g, '\n')
    .replace(/[ \t]+$/gm, '')
    .split('\n')
  const documents: string[] = []
  let open: string[] = []
  let size = 0
  const close = (): void => {
    const text = open.join('\n').trim()
    if (text.length >= shortest && text.length <= longest) documents.push(text)
    open = []
    size = 0
  }
  let last = ''
  lines.forEach((line, i) => {
    if (size > 1400 && lines[i - 1] === '' && begins(line) && !/^\s*(?:#|\/\/|--|\*\/)/.test(last)) close()
    if (line !== '') last = line
    open.push(line)
    size += line.length + 1
  })
  close()
  return documents
}

/** Whether the code looks hand-written: no very long lines, no rows of numbers, not only a list of imports. */
const isReadable = (code: string): boolean =>
  code.split('\n').every((line) => line.length <= 200) &&
  (code.match(/\d/g)?.length ?? 0) < code.length * 0.08 &&
  !/copyright|licensed under/i.test(code)

export const code = (files: readonly SourceFile[]): Piece[] =>
  files.flatMap(({ path, bytes }) => {
    const extension = /\.(\w+)$/.exec(path)?.[1] ?? ''
    const language =
      languages[extension] ?? (/^#!.*(?:sh)\b/.test(bytes.toString('utf8')) ? 'Shell' : undefined)
    if (!language) throw new Error(`${path}: of which language?`)
    return cutCode(withoutLicense(bytes.toString('utf8')))
      .filter(isReadable)
      .map((text) => ({ text, language }))
  })
