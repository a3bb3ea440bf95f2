/**
 * JSON files of checkpoints. They are strangers' files: size, depth and doubled keys are checked before anything uses a value, since
 * JSON.parse keeps the last of two equal keys without a word.
 */
import { join } from 'node:path'
import { FileError } from '../errors.js'
import { quote } from '../gguf/index.js'
import { readInput } from '../input-file.js'
import { Fields } from './fields.js'

/** No file of a checkpoint nests deeper than a tenth of this. */
const mostDepth = 100
/** The largest tokenizer.json in use has 40 MB. */
const mostBytes = 256e6

/** The object in a JSON file. @throws FileError */
export async function readJson(path: string): Promise<Fields> {
  return new Fields(path, parseObject(path, await readInput(path, mostBytes)))
}

/** The object in a JSON file of a folder, or undefined if there is no such file. @throws FileError */
export async function readJsonIn(
  folder: string,
  files: ReadonlySet<string>,
  name: string,
): Promise<Fields | undefined> {
  return files.has(name) ? readJson(join(folder, name)) : undefined
}

/** @throws FileError unless the bytes are one JSON object */
export function parseObject(path: string, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new FileError(path, 'is not JSON: it is not UTF-8')
  }
  checkStructure(path, text)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new FileError(path, 'is not valid JSON; download the file again')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new FileError(path, 'should hold one JSON object')
  return value as Record<string, unknown>
}

/** Refuses depth and doubled keys. Any other fault is left to JSON.parse. */
function checkStructure(path: string, text: string): void {
  /** The keys seen of each open object; undefined for arrays. */
  const open: (Set<string> | undefined)[] = []
  let keyNext = false
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x7b: // {
      case 0x5b: // [
        if (open.length === mostDepth)
          throw new FileError(path, `its JSON nests deeper than ${mostDepth} levels, as no checkpoint does`)
        keyNext = text[i] === '{'
        open.push(keyNext ? new Set() : undefined)
        break
      case 0x7d: // }
      case 0x5d: // ]
        open.pop()
        keyNext = false
        break
      case 0x2c: // ,
        keyNext = open.at(-1) !== undefined
        break
      case 0x22: {
        const end = endOfString(text, i)
        const keys = open.at(-1)
        if (keyNext && keys) {
          const key = keyOf(text.slice(i, end + 1))
          if (keys.has(key)) throw new FileError(path, `its JSON has the key ${quote(key)} twice`)
          keys.add(key)
        }
        keyNext = false
        i = end
      }
    }
  }
}

/** Index of the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = start + 1; ; end += 2) {
    const mark = text.indexOf('"', end)
    if (mark < 0) return text.length
    const backslash = text.indexOf('\\', end)
    if (backslash < 0 || backslash > mark) return mark
    end = backslash
  }
}

function keyOf(literal: string): string {
  if (!literal.includes('\\')) return literal.slice(1, -1)
  try {
    return JSON.parse(literal)
  } catch {
    return literal
  }
}
