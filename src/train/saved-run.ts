/**
 * What the run that is gone on with had decided. It is read again instead of decided anew: there may be other memory free now, and
 * speeds are never measured the same twice.
 */
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { FileError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { checkpointExists, checkpointPath, type Settings } from './checkpoint.js'
import { blocksFolder } from './disk.js'
import type { TrainOptions } from './options.js'
import type { Method } from './plan.js'

/** What is not among the options. */
export interface Decided {
  /** The whole student is in memory. */
  readonly whole: boolean
  /** Names of the tensors that do not train. */
  readonly untrained: ReadonlySet<string>
}

/** Settings of the run that was stopped; undefined where it left nothing. */
async function savedSettings(output: string): Promise<{ path: string; settings: Settings } | undefined> {
  const folder = blocksFolder(output)
  const blocks = existsSync(folder) ? (await readdir(folder)).filter((name) => name.endsWith('.gguf')) : []
  const path = (await checkpointExists(output))
    ? checkpointPath(output)
    : blocks.length > 0
      ? join(folder, blocks.sort()[0])
      : undefined
  if (path === undefined) return undefined
  const gguf = await openGguf(path)
  try {
    const settings: unknown = JSON.parse(gguf.metadata.string('quench.settings'))
    if (typeof settings !== 'object' || settings === null) throw new SyntaxError('not an object')
    return { path, settings: settings as Settings }
  } catch (cause) {
    throw cause instanceof SyntaxError ? damaged(path, cause) : cause
  } finally {
    await gguf.close()
  }
}

/**
 * The options with what an earlier run decided where nothing is asked for. What was asked for stays, and is refused later where the
 * earlier run had it otherwise.
 * @throws FileError for a file that is damaged or of another version
 */
export async function goingOn(
  options: TrainOptions,
): Promise<{ options: TrainOptions; decided: Decided | undefined }> {
  const saved = options.resume ? await savedSettings(options.output) : undefined
  if (!saved) return { options, decided: undefined }
  const { path, settings } = saved
  const { method, tokens, calibration, teacherTopK, whole, untrained } = settings
  if (
    ![tokens, calibration, teacherTopK].every(Number.isSafeInteger) ||
    typeof whole !== 'boolean' ||
    typeof untrained !== 'string' ||
    !isMethod(method)
  )
    throw damaged(path)
  const asked = options.method === 'auto' ? undefined : options.method
  return {
    options: {
      ...options,
      method: asked ?? method,
      tokens: options.tokens ?? (tokens as number),
      calibration: options.calibration ?? (calibration as number),
      teacherTopK: options.teacherTopK ?? (teacherTopK as number),
    },
    decided: { whole, untrained: new Set(untrained.split(' ').filter((name) => name !== '')) },
  }
}

const isMethod = (value: unknown): value is Method =>
  value === 'distill' || value === 'scales' || value === 'blockwise'

const damaged = (path: string, cause?: unknown): FileError =>
  new FileError(path, 'is damaged or of another version; delete it and the rest of the run to start anew', {
    cause,
  })
