/**
 * QAT releases that the catalogue does not know yet: repositories of the owners that it does know, found by their names. An owner is the
 * publisher of the family's weights, or of a QAT release of the same line; what strangers put on the Hub under a model's name is not taken.
 */
import type { HubClient } from '../../hub/client.js'
import { HubError } from '../../hub/errors.js'
import { isSafePath } from '../../hub/repository.js'
import { typeBehind } from '../qat.js'
import type { Family, QatRelease } from './types.js'

/** What names of such repositories hold: quantization-aware training, or distillation. */
const words = ['qat', 'qad']
const mostAnswers = 1000

export class NewReleases {
  readonly #owned = new Map<string, Promise<readonly string[]>>()

  /**
   * @param families all of the catalogue
   * @param types names of file types
   */
  constructor(
    private readonly hub: HubClient,
    private readonly families: readonly Family[],
    private readonly types: readonly string[],
    private readonly today: string,
  ) {}

  /** Releases that the family does not list. @throws HubError for a Hub that fails */
  async of(family: Family): Promise<QatRelease[]> {
    const known = new Set((family.qat ?? []).map(({ repository }) => repository.toLowerCase()))
    const lists = await Promise.all(this.#ownersOf(family).map((owner) => this.#ownedBy(owner)))
    return lists
      .flat()
      .filter((id) => isReleaseOf(id, family) && !known.has(id.toLowerCase()))
      .map((repository) => this.#release(repository))
  }

  #ownersOf({ hub, line }: Family): string[] {
    const siblings = this.families.filter((family) => family.line === line)
    const releases = siblings.flatMap(({ qat = [] }) => qat.map(({ repository }) => repository))
    return [...new Set([hub, ...releases].map(ownerOf))]
  }

  /** Asked for once, for all families. */
  #ownedBy(owner: string): Promise<readonly string[]> {
    const asked = this.#owned.get(owner) ?? this.#ask(owner)
    this.#owned.set(owner, asked)
    return asked
  }

  async #ask(owner: string): Promise<string[]> {
    const lists = await Promise.all(
      words.map(async (word) => {
        const url = this.hub.url(
          `api/models?author=${encodeURIComponent(owner)}&search=${word}&limit=${mostAnswers}`,
        )
        const answer = await this.hub.json(owner, url).catch((error: unknown) => {
          // A mirror that cannot search finds nothing.
          if (error instanceof HubError && error.status === 404) return []
          throw error
        })
        return names(owner, answer)
      }),
    )
    return [...new Set(lists.flat())]
  }

  #release(repository: string): QatRelease {
    const type = typeBehind(repository, this.types)
    const form = /-gguf$/i.test(repository)
      ? 'gguf'
      : /-unquantized$/i.test(repository)
        ? 'unquantized'
        : 'other'
    return {
      repository,
      ...(type !== undefined && { type }),
      scheme: type ?? 'by its name',
      form,
      note: 'found by its name on the Hub',
      sources: [`the Hub's list of ${ownerOf(repository)}, ${this.today}`],
    }
  }
}

const ownerOf = (repository: string): string => repository.replace(/\/.*/, '')

/** `gemma-3-4b-it-qat-q4_0-gguf` of `gemma-3-4b-it`, whoever owns it. */
function isReleaseOf(repository: string, { hub }: Family): boolean {
  const [, own] = hub.toLowerCase().split('/')
  const [, name] = repository.toLowerCase().split('/')
  return words.some((word) => name === `${own}-${word}` || name.startsWith(`${own}-${word}-`))
}

/** @throws HubError for an answer of another form */
function names(owner: string, answer: unknown): string[] {
  const wrong = () => new HubError(owner, "the Hub's list of its models cannot be read; check HF_ENDPOINT")
  if (!Array.isArray(answer) || answer.length > mostAnswers) throw wrong()
  return answer
    .map((model: unknown) => {
      const id = (model as { id?: unknown } | null)?.id
      if (typeof id !== 'string' || id.split('/').length !== 2 || !isSafePath(id)) throw wrong()
      return id
    })
    .filter((id) => ownerOf(id).toLowerCase() === owner.toLowerCase())
}
