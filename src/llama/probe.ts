/**
 * Tests whether libllama survives a file, in another process before this one loads it. A file is identified by its device,
 * inode, size and modification time, and is tried once.
 */

import type { BigIntStats } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { FileError } from '../errors.js'
import { systemError } from '../files.js'
import { headerProblem } from '../gguf/problems.js'
import { checkRegular } from '../input-file.js'
import { inNativeProcess } from './native-process.js'
import type { Level } from './native-work.js'

const levels: readonly Level[] = ['vocabulary', 'load', 'run']
const tried = new Map<string, Promise<string | undefined>>()

/** @throws FileError with the reason if the file cannot be used up to this level */
export async function checkLoads(path: string, level: Level): Promise<void> {
  const { key, trial = inNativeProcess('try', { path, level }) } = await lookUp(path, level)
  tried.set(key, trial)
  const reason = await trial
  if (reason === undefined) return
  throw new FileError(path, (await headerProblem(path)) ?? `llama.cpp cannot load it: ${reason}`)
}

/**
 * Does work in the other process that tries the file at the same time, unless it was tried before.
 * @param work gets whether to try the file; a text that it gives is why it failed, be it itself or the trial
 * @returns why the work failed, if it did
 * @throws FileError with the reason if the file cannot be used up to this level
 */
export async function besideTrial(
  path: string,
  level: Level,
  work: (trial: boolean) => Promise<string | undefined>,
): Promise<string | undefined> {
  const { key, trial } = await lookUp(path, level)
  if (trial) await checkLoads(path, level)
  const reason = await work(!trial)
  if (reason === undefined) tried.set(key, Promise.resolve(undefined))
  else await checkLoads(path, level)
  return reason
}

/** The trial of a file that includes this level, if there is one, and its key. */
async function lookUp(
  path: string,
  level: Level,
): Promise<{ key: string; trial?: Promise<string | undefined> }> {
  const { dev, ino, size, mtimeNs } = await statGguf(path)
  const keyOf = (level: Level) => [resolve(path), dev, ino, size, mtimeNs, level].join(':')
  // A higher level includes the lower ones.
  const known = levels.slice(levels.indexOf(level)).find((level) => tried.has(keyOf(level)))
  const key = keyOf(known ?? level)
  const trial = tried.get(key)
  return { key, ...(trial && { trial }) }
}

/** Starts to try files in the background, so that `checkLoads` has the answer sooner. */
export function tryEarly(paths: readonly string[], level: Level): void {
  for (const path of paths) checkLoads(path, level).catch(() => {})
}

async function statGguf(path: string): Promise<BigIntStats> {
  const magic = Buffer.alloc(4)
  try {
    const found = await stat(path, { bigint: true })
    checkRegular(path, found)
    const file = await open(path)
    await file.read(magic, 0, 4, 0).finally(() => file.close())
    if (magic.toString('latin1') !== 'GGUF') throw new FileError(path, 'not a GGUF file')
    return found
  } catch (error) {
    throw systemError(path, error)
  }
}
