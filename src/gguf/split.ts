/** Names of the parts of a split model: `NAME-00001-of-00003.gguf`. */
import { readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/**
 * The files that belong to the same model by their names, including `path` itself; `path` alone if its name is not that of a
 * part.
 */
export function partsByName(path: string): string[] {
  const [, stem, of] = /^(.*)-\d{5}(-of-\d{5}\.gguf)$/s.exec(basename(path)) ?? []
  if (stem === undefined || of === undefined) return [path]
  const isPart = (name: string): boolean =>
    name.startsWith(`${stem}-`) && name.endsWith(of) && name.length === `${stem}-00001${of}`.length
  try {
    const parts = readdirSync(dirname(path)).filter(isPart)
    return [path, ...parts.map((name) => join(dirname(path), name))]
  } catch {
    return [path] // opening it will report the reason
  }
}
