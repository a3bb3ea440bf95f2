/** Text files for training and evaluation. A folder stands for the .txt, .md, .text and .jsonl files under it. */
import { readdir, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { FileError } from '../errors.js'
import { systemError } from '../files.js'
import { jsonLines, readText } from './text-file.js'

const textEndings = new Set(['.txt', '.text', '.md', '.jsonl'])

/** A text and its source: the file, with the line number for `.jsonl`. */
export interface Document {
  readonly name: string
  readonly text: string
}

/** Reads every named file, and every text file under every named folder, sorted by name. */
export async function readTexts(paths: readonly string[]): Promise<string[]> {
  return (await readDocuments(paths)).map(({ text }) => text)
}

/** Like `readTexts`, with names. */
export async function readDocuments(paths: readonly string[]): Promise<Document[]> {
  const files = (await Promise.all(paths.map(listFiles))).flat()
  const documents: Document[] = []
  for (const file of files) for (const document of await readFileDocuments(file)) documents.push(document)
  if (documents.every(({ text }) => text.trim() === ''))
    throw new FileError(
      paths.join(', '),
      'holds no text; name a text file or a folder of .txt, .md or .jsonl files',
    )
  return documents
}

/** The text files that a path stands for: the file itself, or those of the folder. */
export async function listFiles(path: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    const entries = await readdir(path, { withFileTypes: true, recursive: true })
    return entries
      .filter((entry) => entry.isFile() && textEndings.has(extname(entry.name).toLowerCase()))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
  } catch (error) {
    throw systemError(path, error)
  }
}

/** The text of a file, or the `text` field of each line of a .jsonl file. */
async function readFileDocuments(path: string): Promise<Document[]> {
  const content = await readText(path)
  if (extname(path).toLowerCase() !== '.jsonl') return [{ name: path, text: content }]
  const wrong = (number: number) =>
    new FileError(path, `line ${number} is not a JSON object with a string "text"`)
  return Array.from(jsonLines(path, content), ({ number, value }) => {
    const text = (value as { text?: unknown } | null)?.text
    if (typeof text !== 'string') throw wrong(number)
    return { name: `${path}:${number}`, text }
  })
}

/** Share of CRLF line ends from which on a warning is given. */
const remarkableShare = 0.1

/** Warnings about texts that are not what they seem. */
export function textWarnings(documents: readonly Document[]): string[] {
  const names = documents.filter(({ text }) => hasWindowsLineEnds(text)).map(({ name }) => name)
  if (names.length === 0) return []
  const others = names.length > 1 ? ` (and ${names.length - 1} more)` : ''
  return [
    `${names[0]}${others}: lines end with CRLF, as on Windows, which models read as other text than lines that end with LF; convert it, unless such text is what you want: tr -d '\\r' < OLD > NEW`,
  ]
}

function hasWindowsLineEnds(text: string): boolean {
  let ends = 0
  let windows = 0
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) {
    ends++
    if (at > 0 && text[at - 1] === '\r') windows++
  }
  return windows > 0 && windows >= remarkableShare * ends
}
