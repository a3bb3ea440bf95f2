/**
 * The decisions of a run: saved before any work depends on them, and reused by a resumed run. A new decision could differ, since the
 * memory budget may have changed and measured speeds vary.
 *
 * They are in a file of their own in the folder of finished blocks, since a run can be killed before there is any block or checkpoint.
 * A checkpoint contains them too.
 */

import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { type DeviceName, isDevice } from '../backends/devices.js'
import { isMethod, type Method, trainingOf } from '../config/methods.js'
import type { TrainOptions } from '../config/options.js'
import { checkOptions, sameOnResume, withShared } from '../config/table.js'
import { FileError } from '../errors.js'
import { atomicWrite, systemError } from '../files.js'
import { makeFolder } from '../folders.js'
import { openGguf } from '../gguf/index.js'
import { checkpointExists, checkpointPath } from './checkpoint.js'
import { blocksFolder, decisionsPath } from './disk.js'
import { checkSame, type Settings, stateLayout } from './settings.js'

/** Decisions that are no options, or that an option may leave to the run. */
export interface Decisions {
  readonly method: Method
  readonly device: DeviceName
  /** The whole student is in memory. */
  readonly inMemory: boolean
  /** Names of the tensors that do not train, separated by spaces. */
  readonly untrained: string
  readonly tokens: number
  readonly calibration: number
  readonly teacherTopK: number
  /** Windows that the model has written, if time did not suffice for all. */
  readonly written?: number
}

/** Decisions of an earlier run, with the settings that it had when it made them. */
interface Saved extends Decisions {
  readonly settings: Settings
}

/** Size limit: the file holds a few numbers and names of tensors. */
const mostBytes = 1 << 20

/** @param settings those of the options, the model and the text that was read */
export async function saveDecisions(output: string, decisions: Decisions, settings: Settings): Promise<void> {
  makeFolder(blocksFolder(output))
  await atomicWrite(decisionsPath(output), JSON.stringify({ ...settings, ...decisions }))
}

/** Decisions of an interrupted run; undefined if there are none. @throws FileError for a damaged file */
async function savedDecisions(output: string): Promise<Saved | undefined> {
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

function parsed(path: string, json: string): Saved {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw damaged(path, cause)
  }
  if (typeof value !== 'object' || value === null) throw damaged(path)
  const { method, device, inMemory, untrained, tokens, calibration, teacherTopK, written } = value as Record<
    string,
    unknown
  >
  if (
    !isMethod(method) ||
    !isDevice(device) ||
    typeof inMemory !== 'boolean' ||
    typeof untrained !== 'string' ||
    !isCount(tokens) ||
    !isCount(calibration) ||
    !isCount(teacherTopK) ||
    !(written === undefined || isCount(written))
  )
    throw damaged(path)
  const settings = value as Settings
  const more = written === undefined ? {} : { written }
  return { method, device, inMemory, untrained, tokens, calibration, teacherTopK, ...more, settings }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** A run's options with the decisions of an earlier one. */
export interface Resolved {
  readonly options: TrainOptions
  readonly decided:
    | { readonly inMemory: boolean; readonly untrained: ReadonlySet<string>; readonly written?: number }
    | undefined
  /**
   * Compares settings with those of the earlier run. Call it as soon as they are known, so that no work is done in vain.
   * @throws UsageError that names the setting that differs
   */
  check(settings: Settings): void
}

/**
 * Fills in options that were not given with those and the decisions of an earlier run. Options that were given are kept, and refused by
 * `check` if they differ from the earlier run's.
 * @throws FileError for a file that is damaged or of another version
 */
export async function resolveResume(asked: TrainOptions): Promise<Resolved> {
  const { output } = asked
  const saved = asked.resume ? await savedDecisions(output) : undefined
  if (!saved) return { options: asked, decided: undefined, check: () => {} }
  const options = withSaved(asked, saved.settings)
  const method = options.method === 'auto' ? saved.method : (options.method ?? saved.method)
  const device = options.device === 'auto' ? saved.device : (options.device ?? saved.device)
  const teacherTopK = options.teacherTopK ?? saved.teacherTopK
  // A method without steps asks no teacher, whatever the option says.
  const more = { method, device, ...(trainingOf(method) && { teacherTopK }) }
  return {
    options: {
      ...options,
      method,
      device,
      tokens: options.tokens ?? saved.tokens,
      calibration: options.calibration ?? saved.calibration,
      teacherTopK,
    },
    decided: {
      inMemory: saved.inMemory,
      untrained: new Set(saved.untrained.split(' ').filter((name) => name !== '')),
      ...(saved.written !== undefined && { written: saved.written }),
    },
    check: (settings) => {
      const [checkpoint, folder] = [checkpointPath(output), blocksFolder(output)]
      const left = [checkpoint, folder].filter((path) => existsSync(path))
      checkSame(left[0] ?? folder, saved.settings, { ...settings, ...more }, left.join(' and '))
    },
  }
}

function withSaved(asked: TrainOptions, saved: Settings): TrainOptions {
  const options = withShared(asked, saved)
  const { context = saved.context, batch = saved.batch } = asked
  const all = {
    ...options,
    ...(typeof context === 'number' && { context }),
    ...(typeof batch === 'number' && { batch }),
  }
  checkOptions(all)
  return all
}

/** The settings that are known once the model is open, of options with the decisions of an earlier run. */
export const settingsOf = (
  model: string,
  options: TrainOptions,
  { windows, length }: { readonly windows: number; readonly length: number },
): Settings => ({
  layout: stateLayout,
  type: options.type,
  model,
  context: length,
  batch: windows * length,
  ...sameOnResume(options),
})

const damaged = (path: string, cause?: unknown): FileError =>
  new FileError(path, 'is damaged or of another version; delete it and the rest of the run to start anew', {
    cause,
  })
