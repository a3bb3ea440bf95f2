/** What names mean to `quench advise`. */
import { existsSync } from 'node:fs'
import { UsageError } from '../errors.js'
import { resolveModel } from '../names/resolve.js'
import { similarTo } from '../option-checks.js'
import { familyNamed, lineNamed } from './catalogue/names.js'
import type { Catalogue, Family } from './catalogue/types.js'
import { localModels, modelsBelow } from './local.js'
import {
  type RepositoryFiles,
  type RepositoryOptions,
  repositoryCandidates,
  repositoryNamed,
} from './repository.js'

export interface Chosen {
  readonly files: string[]
  readonly families: Family[]
  readonly ofHub: RepositoryFiles
}

/** Files and families of names; without any all that is in the stores, and all families. */
export async function chosen(
  names: readonly string[],
  catalogue: Catalogue,
  options: RepositoryOptions,
): Promise<Chosen> {
  const ofHub: RepositoryFiles = { candidates: [], failures: [], notes: [] }
  if (names.length === 0) return { files: await localModels(), families: [...catalogue.families], ofHub }
  const files: string[] = []
  const families: Family[] = []
  for (const name of names) {
    const family = familyNamed(catalogue, name)
    const line = lineNamed(catalogue, name)
    const repository = existsSync(name) || family || line.length > 0 ? undefined : repositoryNamed(name)
    if (existsSync(name)) files.push(...(await modelsBelow(name)))
    else if (family) families.push(family)
    else if (line.length > 0) families.push(...line)
    else if (/^(ollama|lm-studio):/.test(name)) files.push((await resolveModel(name)).path)
    else if (repository) {
      const found = await repositoryCandidates(repository, catalogue, options)
      ofHub.candidates.push(...found.candidates)
      ofHub.failures.push(...found.failures)
      ofHub.notes.push(...found.notes)
    } else throw new UsageError(unknownName(name, catalogue))
  }
  if (files.length + families.length + ofHub.candidates.length + ofHub.failures.length === 0)
    throw new UsageError(`there are no GGUF files in ${names.join(', ')}`)
  return { files, families, ofHub }
}

/** Ollama writes `gemma3:4b` and `gemma3-4b`. */
function unknownName(name: string, { families }: Catalogue): string {
  const ids = families.map(({ id }) => id)
  const similar = similarTo(name, ids)
  const advice =
    similar === undefined ? `families are such as ${ids.slice(0, 3).join(', ')}` : `did you mean ${similar}?`
  return `${name} is no file, folder, repository or family of the catalogue; ${advice}`
}
