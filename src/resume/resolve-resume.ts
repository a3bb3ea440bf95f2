/**
 * The decisions of a run: saved before any work depends on them, and reused by a resumed run. A new decision could differ, since the
 * memory budget may have changed and measured speeds vary.
 *
 * They are in a file of their own in the folder of finished blocks, since a run can be killed before there is any block or checkpoint.
 * A checkpoint contains them too.
 */

import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { isMethod, type Method } from '../config/methods.js'
import type { TrainOptions } from '../config/options.js'
import { FileError } from '../errors.js'
import { atomicWrite, systemError } from '../files.js'
import { makeFolder } from '../folders.js'
import { openGguf } from '../gguf/index.js'
import { checkpointExists, checkpointPath } from './checkpoint.js'
import { blocksFolder, decisionsPath } from './disk.js'

/** Decisions that are no options, or that an option may leave to the run. */
export interface Decisions {
  readonly method: Method
  /** The whole student is in memory. */
  readonly inMemory: boolean
  /** Names of the tensors that do not train, separated by spaces. */
  readonly untrained: string
  readonly tokens: number
  readonly calibration: number
  readonly teacherTopK: number
}

/** Size limit: the file holds a few numbers and names of tensors. */
const mostBytes = 1 << 20

export async function saveDecisions(output: string, decisions: Decisions): Promise<void> {
  makeFolder(blocksFolder(output))
  await atomicWrite(decisionsPath(output), JSON.stringify(decisions))
}

/** Decisions of an interrupted run; undefined if there are none. @throws FileError for a damaged file */
async function savedDecisions(output: string): Promise<Decisions | undefined> {
  const path = decisionsPath(output)
  if (existsSync(path)) return parsed(path, await readSmall(path))
  if (!(await checkpointExists(output))) return undefined
  const checkpoint = checkpointPath(output)
  const gguf = await openGguf(checkpoint)
  try {
    return parsed(checkpoint, gguf.metadata.string('quench.settings'))
  } finally {
    await gguf.close()
  }
}

async function readSmall(path: string): Promise<string> {
  try {
    const found = await stat(path)
    return found.isFile() && found.size <= mostBytes ? await readFile(path, 'utf8') : ''
  } catch (error) {
    throw systemError(path, error)
  }
}

function parsed(path: string, json: string): Decisions {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw damaged(path, cause)
  }
  if (typeof value !== 'object' || value === null) throw damaged(path)
  const { method, inMemory, untrained, tokens, calibration, teacherTopK } = value as Record<string, unknown>
  if (
    !isMethod(method) ||
    typeof inMemory !== 'boolean' ||
    typeof untrained !== 'string' ||
    !isCount(tokens) ||
    !isCount(calibration) ||
    !isCount(teacherTopK)
  )
    throw damaged(path)
  return { method, inMemory, untrained, tokens, calibration, teacherTopK }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/**
 * Fills in options that were not given with the decisions of an earlier run. Options that were given are kept; if they differ from the
 * earlier run's, they are refused later.
 * @throws FileError for a file that is damaged or of another version
 */
export async function resolveResume(options: TrainOptions): Promise<{
  options: TrainOptions
  decided: { inMemory: boolean; untrained: ReadonlySet<string> } | undefined
}> {
  const saved = options.resume ? await savedDecisions(options.output) : undefined
  if (!saved) return { options, decided: undefined }
  const asked = options.method === 'auto' ? undefined : options.method
  return {
    options: {
      ...options,
      method: asked ?? saved.method,
      tokens: options.tokens ?? saved.tokens,
      calibration: options.calibration ?? saved.calibration,
      teacherTopK: options.teacherTopK ?? saved.teacherTopK,
    },
    decided: {
      inMemory: saved.inMemory,
      untrained: new Set(saved.untrained.split(' ').filter((name) => name !== '')),
    },
  }
}

const damaged = (path: string, cause?: unknown): FileError =>
  new FileError(path, 'is damaged or of another version; delete it and the rest of the run to start anew', {
    cause,
  })
