/**
 * File names: targets of symbolic links, equality of names, and names of quench's own files next to an output. A name has at
 * most 255 bytes on the usual file systems, so derived names of long ones are truncated and made unique by a hash.
 */
import { createHash } from 'node:crypto'
import { lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { systemError } from './system-errors.js'

const mostNameBytes = 255
/** Limit for a hidden name, without its prefix and ending. */
const mostStemBytes = 200
/** Limit of links to links, as in Linux. */
const mostLinks = 40

/**
 * The path that is written for an output of this name: the target of symbolic links, even if it does not exist.
 * @throws FileError for a name that is too long, links that lead to each other, etc.
 */
export function targetOf(path: string): string {
  let target = path
  try {
    for (let links = 0; lstatSync(target, { throwIfNoEntry: false })?.isSymbolicLink(); links++) {
      if (links === mostLinks) throw Object.assign(new Error('too many links'), { code: 'ELOOP' })
      target = resolve(realpathSync(dirname(target)), readlinkSync(target))
    }
  } catch (error) {
    throw systemError(path, error)
  }
  return target
}

/** Equal for two names of one file, whether by spelling, symbolic or hard link, and whether it exists or not. */
export function identityOf(path: string): string {
  try {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false })
    if (found) return `${found.dev}:${found.ino}`
    return realPath(targetOf(path))
  } catch {
    return resolve(path) // a file that cannot be examined is refused when it is opened
  }
}

/** The path without links; its last parts need not exist. */
export function realPath(path: string): string {
  const whole = resolve(path)
  try {
    return realpathSync(whole)
  } catch {
    const folder = dirname(whole)
    return folder === whole ? whole : join(realPath(folder), basename(whole))
  }
}

/** A name with an ending, in the same folder, e.g. `out.gguf.checkpoint`. */
export function besidePath(path: string, ending: string): string {
  const name = basename(path)
  const fits = Buffer.byteLength(name + ending) <= mostNameBytes
  return join(dirname(path), (fits ? name : stemOf(name)) + ending)
}

/** A hidden name with an ending, in the same folder, e.g. `.out.gguf.lock`. */
export function hiddenPath(path: string, ending: string): string {
  return join(dirname(path), `.${stemOf(basename(path))}${ending}`)
}

function stemOf(name: string): string {
  if (Buffer.byteLength(name) <= mostStemBytes) return name
  const hash = `~${createHash('sha256').update(name).digest('hex').slice(0, 16)}`
  const characters = Array.from(name) // so that no character is split
  while (Buffer.byteLength(characters.join('')) + hash.length > mostStemBytes) characters.pop()
  return characters.join('') + hash
}

/** A part of a split model by its number from 0, as llama.cpp names it. */
export function partPath(prefix: string, part: number, count: number): string {
  const five = (number: number): string => String(number).padStart(5, '0')
  return `${prefix}-${five(part + 1)}-of-${five(count)}.gguf`
}
