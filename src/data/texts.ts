/** Text files for training and evaluation. A folder stands for the .txt, .md, .text and .jsonl files under it. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { FileError } from '../errors.js'
import { systemError } from '../files.js'

const textEndings = new Set(['.txt', '.text', '.md', '.jsonl'])

/** A string holds at most half a billion characters; texts beyond this are to be split into several files. */
const maxTextBytes = 500_000_000

/** A text and where it is from: the file, with the line where that is `.jsonl`. */
export interface Document {
  readonly name: string
  readonly text: string
}

/** Reads every named file, and every text file under every named folder, in order of their names. */
export async function readTexts(paths: readonly string[]): Promise<string[]> {
  return (await readDocuments(paths)).map(({ text }) => text)
}

/** The same, with names. */
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

async function listFiles(path: string): Promise<string[]> {
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

/** One text of a file, or one of each line of a .jsonl file: its `text` field. */
async function readFileDocuments(path: string): Promise<Document[]> {
  let content: string
  try {
    const { size } = await stat(path)
    if (size > maxTextBytes)
      throw new FileError(path, `is larger than ${maxTextBytes / 1e6} MB; split it into several files`)
    content = await readFile(path, 'utf8')
  } catch (error) {
    throw systemError(path, error)
  }
  if (extname(path).toLowerCase() !== '.jsonl') return [{ name: path, text: content }]
  return content
    .split('\n')
    .flatMap((line, i) =>
      line.trim() === '' ? [] : [{ name: `${path}:${i + 1}`, text: jsonText(path, line, i + 1) }],
    )
}

function jsonText(path: string, line: string, number: number): string {
  try {
    const { text } = JSON.parse(line) as { text?: unknown }
    if (typeof text === 'string') return text
  } catch {
    // told below
  }
  throw new FileError(path, `line ${number} is not a JSON object with a string "text"`)
}
