/** Files of a repository of the Hub to choose from: sizes from its listing, shapes from the catalogue. Nothing is downloaded. */
import { QuenchError, UsageError } from '../errors.js'
import { HubCache } from '../hub/cache.js'
import { HubClient } from '../hub/client.js'
import { openRepository } from '../hub/listing.js'
import { hubSettings } from '../hub/settings.js'
import { candidatesOf } from '../names/choose.js'
import { type HubName, parseName } from '../names/parse.js'
import type { Candidate } from './candidates.js'
import { familyNamed, familyOfFile } from './catalogue/names.js'
import type { Catalogue } from './catalogue/types.js'
import { familyParameters } from './family.js'
import { sizedByFamily } from './footprint.js'
import { detectQat } from './qat.js'

/** The repository that a name means; undefined for another name. */
export function repositoryNamed(name: string): HubName | undefined {
  const parsed = parseName(name, hubSettings().endpoint)
  return parsed.kind === 'hub' ? parsed : undefined
}

/** @throws HubError, and UsageError for a repository of a model that is in no family of the catalogue */
export async function repositoryCandidates(
  { id, revision }: HubName,
  catalogue: Catalogue,
): Promise<Candidate[]> {
  const hub = new HubClient(hubSettings(), {})
  try {
    const repository = await openRepository(hub, new HubCache(hub.settings.cache), id, revision)
    const sizes = new Map(repository.files.map(({ path, size }) => [path, size]))
    const found = candidatesOf([...sizes.keys()])
    if (found.length === 0) throw new QuenchError(`${id} has no GGUF files; name a repository that has`)
    const family = familyNamed(catalogue, id) ?? familyOfFile(catalogue, [id, found[0].files[0]], undefined)
    if (!family)
      throw new UsageError(
        `the catalogue does not know the model of ${id}, so nothing can be said of its memory; fetch a file with \`quench pull\` and name that`,
      )
    const parameters = familyParameters(family)
    return found.flatMap(({ files, type }): Candidate[] => {
      if (type === undefined) return []
      const bytes = files.reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0)
      const [name] = files
      return [
        {
          id: `${id}:${name}`,
          source: 'repository',
          group: family.id,
          repository: id,
          type,
          bytes,
          bitsPerWeight: (8 * bytes) / parameters,
          ...(/imatrix|[-.]i1[-.]/i.test(name) && { imatrix: true }),
          model: { name: family.name, architecture: family.architecture, parameters },
          family,
          qat: detectQat(catalogue, { names: [name], type, repository: id }),
          trainedHere: false,
          sized: sizedByFamily(family, { type, bytes }),
          licence: family.licence,
          ...(family.context !== undefined && { trainedContext: family.context }),
          toMake: false,
        },
      ]
    })
  } finally {
    await hub.close()
  }
}
