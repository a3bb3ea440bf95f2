/** The settings that a run and one that resumes it must share. */
import { FileError, UsageError } from '../errors.js'

/**
 * Version of checkpoints and finished blocks, under the key `layout`; increased when their contents change. 2: frozen codes are stored
 * as codes.
 */
export const stateLayout = 2

export type Settings = Readonly<Record<string, string | number | boolean | null>>

/**
 * @param saved the settings of a file, as JSON
 * @param stale what to delete to start over
 * @throws UsageError that names the setting that differs, FileError for invalid JSON
 */
export function checkSettings(path: string, saved: string, settings: Settings, stale: string): void {
  const before = parseState(path, saved) as Settings | null
  const differs = (key: string): boolean => before?.[key] !== settings[key]
  const anew = `delete ${stale} to start anew`
  if (differs('layout'))
    throw new UsageError(`${path} was left by another version of quench; resume with that one, or ${anew}`)
  const key = Object.keys({ ...before, ...settings }).find(differs)
  if (key !== undefined)
    throw new UsageError(
      `${path} was left by a run with other settings (${key}: ${before?.[key]}, now ${settings[key]}); resume with the same, or ${anew}`,
    )
}

/** @throws FileError for invalid JSON */
export function parseState(path: string, json: string): unknown {
  try {
    return JSON.parse(json)
  } catch (cause) {
    throw new FileError(path, 'is damaged; delete it to start anew', { cause })
  }
}
