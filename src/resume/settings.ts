/** The settings that a run and one that resumes it must share. */
import { flagOf } from '../config/table.js'
import { FileError, UsageError } from '../errors.js'

/**
 * Version of checkpoints, finished blocks and decisions, under the key `layout`; increased when their contents change. 2: frozen codes
 * are stored as codes. 3: settings hold every option that shapes the result. 4: and the device.
 */
export const stateLayout = 4

export type Settings = Readonly<Record<string, string | number | boolean | null>>

/** Settings that are hashes, which say nothing to a person. */
const hashes: Readonly<Record<string, string>> = {
  model: 'another input model',
  imatrix: 'another importance matrix (--imatrix)',
  read: 'other text (the files of --data)',
  text: 'other training text',
}

/**
 * Compares the settings of a file with the current ones.
 * @param saved as JSON
 * @param stale what to delete to start over
 * @throws UsageError that names the setting that differs and both values, FileError for invalid JSON
 */
export function checkSettings(path: string, saved: string, settings: Settings, stale: string): void {
  const before = parseState(path, saved) as Settings | null
  checkSame(path, before ?? {}, { ...fill(before), ...settings }, stale)
}

/** Keys of the file that the current settings lack count as different. */
const fill = (before: Settings | null): Settings =>
  Object.fromEntries(Object.keys(before ?? {}).map((key) => [key, null]))

/** Compares the current settings with earlier ones, of which there may be more. @throws UsageError as `checkSettings` does */
export function checkSame(path: string, before: Settings, settings: Settings, stale: string): void {
  const differs = (key: string): boolean => before[key] !== settings[key]
  const anew = `delete ${stale} to start anew`
  if (differs('layout'))
    throw new UsageError(`${path} was left by another version of quench; resume with that one, or ${anew}`)
  const keys = Object.keys(settings).filter(differs)
  if (keys.length === 0) return
  const options = keys.filter((key) => !(key in hashes))
  const pairs = options.map((key) => `${described(key, before[key])}, now ${described(key, settings[key])}`)
  const other = options.length > 0 ? `other settings (${pairs.join('; ')})` : hashes[keys[0]]
  throw new UsageError(`${path} was left by a run with ${other}; resume with the same, or ${anew}`)
}

/** `--time 60`, or `no --time` for an option that was not given. */
function described(key: string, value: Settings[string] | undefined): string {
  const { flag, unit } = flagOf(key)
  return value === null || value === undefined ? `no ${flag}` : `${flag} ${value}${unit}`
}

/** @throws FileError for invalid JSON */
export function parseState(path: string, json: string): unknown {
  try {
    return JSON.parse(json)
  } catch (cause) {
    throw new FileError(path, 'is damaged; delete it to start anew', { cause })
  }
}
