/**
 * What a file says of its origin (`general.*`): from the model's name, from the header of its README.md, and the
 * recommended sampling of generation_config.json. Nothing here changes what a model does.
 */
import { basename, join, resolve } from 'node:path'
import { parse } from 'yaml'
import type { Checkpoint, Fields } from '../checkpoint/index.js'
import { readInput } from '../input-file.js'
import { type ModelId, parseModelId, sizeLabel, titleOf } from './model-id.js'
import { type Entry, float32, int32, string, strings, uint32 } from './values.js'

const mostCardBytes = 16e6
const mostHeaderCharacters = 1e6
const mostListed = 1000

/** @param name of the model, e.g. `org/model`, in place of the folder's */
export async function generalEntries(
  checkpoint: Checkpoint,
  parameters: number,
  name: string | undefined,
): Promise<Entry[]> {
  const card = await readCard(checkpoint)
  const ids =
    name === undefined
      ? [checkpoint.config.value('_name_or_path'), basename(resolve(checkpoint.folder))]
      : [name]
  const parsed = ids
    .filter((id) => typeof id === 'string' && id !== '' && id.split('/').length <= 2)
    .map((id) => parseModelId(id as string, parameters))
  const text = (...keys: string[]): string | undefined =>
    keys.map((key) => textOf(card[key])).find((each) => each)
  const own = (key: keyof ModelId): string | undefined => parsed.map((each) => each[key]).find((each) => each)
  const title = own('name')
  const organization = own('organization')
  const facts: [string, string | undefined][] = [
    ['name', text('name', 'model_name') ?? (title && titleOf(title))],
    ['author', text('author', 'model_author', 'model_creator')],
    ['version', text('version', 'model_version') ?? own('version')],
    ['organization', text('organization', 'model_organization') ?? (organization && titleOf(organization))],
    ['finetune', text('finetune', 'model_finetune') ?? own('finetune')],
    ['basename', text('basename', 'model_basename', 'model_type') ?? own('basename')],
    ['description', text('description', 'model_description')],
    ['size_label', text('size_label', 'model_size_label') ?? own('sizeLabel') ?? sizeLabel(parameters)],
    ['license', listOf(card.license).join(',') || undefined],
    ['license.name', text('license_name')],
    ['license.link', text('license_link')],
    ['source.url', text('url', 'model_url')],
    ['source.doi', text('doi', 'model_doi')],
    ['source.uuid', text('uuid', 'model_uuid')],
    ['source.repo_url', text('repo_url', 'model_repo_url')],
  ]
  const tags = [...listOf(card.tags), ...listOf(card.pipeline_tag)]
  const languages = [...listOf(card.languages), ...listOf(card.language)]
  return [
    ...samplingEntries(await checkpoint.json('generation_config.json')),
    ...facts.flatMap(([key, value]): Entry[] => (value ? [[`general.${key}`, string(value)]] : [])),
    ...origins('base_model', card.base_model ?? card.base_models ?? card.base_model_sources, parameters),
    ...origins('dataset', card.datasets ?? card.dataset ?? card.dataset_sources, parameters),
    ...(tags.length > 0 ? [['general.tags', strings(tags)] as const] : []),
    ...(languages.length > 0 ? [['general.languages', strings(languages)] as const] : []),
  ]
}

/** The header of README.md: YAML between two lines of three dashes. A header that cannot be read says nothing. */
async function readCard({ folder, files }: Checkpoint): Promise<Readonly<Record<string, unknown>>> {
  if (!files.has('README.md')) return {}
  const text = (await readInput(join(folder, 'README.md'), mostCardBytes)).toString('utf8')
  const [, header] = /^---\r?\n([\s\S]*?\r?\n)---(?:\r?\n|$)/.exec(text) ?? []
  if (header === undefined || header.length > mostHeaderCharacters) return {}
  try {
    // As in YAML 1.2, `no` is Norwegian here and not false.
    const found: unknown = parse(header.replaceAll('\t', '  '), { schema: 'core', logLevel: 'silent' })
    return typeof found === 'object' && found !== null && !Array.isArray(found)
      ? (found as Record<string, unknown>)
      : {}
  } catch {
    return {}
  }
}

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : typeof value === 'number' ? String(value) : undefined

/** A text, or the texts of a list. */
const listOf = (value: unknown): string[] =>
  (Array.isArray(value) ? value : [value]).slice(0, mostListed).flatMap((each) => textOf(each) ?? [])

/** Models or data sets that a model was made from: names on the Hub, or addresses. */
function origins(kind: 'base_model' | 'dataset', given: unknown, parameters: number): Entry[] {
  if (given === undefined || given === null) return []
  const ids = listOf(given)
  const entries: Entry[] = [[`general.${kind}.count`, uint32(ids.length)]]
  for (const [i, id] of ids.entries()) {
    const address = /^(https?|ssh):\/\//.test(id)
    const [, onHub] = /^https?:\/\/huggingface\.co\/([^/]+\/[^/]+)$/.exec(id) ?? []
    const known = address ? onHub : id
    const parsed = known === undefined ? undefined : parseModelId(known, parameters)
    const add = (key: string, value: string | undefined): void => {
      if (value !== undefined) entries.push([`general.${kind}.${i}.${key}`, string(value)])
    }
    add('name', parsed && titleOf(parsed.name))
    add('version', parsed?.version)
    add('organization', parsed?.organization && titleOf(parsed.organization))
    add(
      'repo_url',
      address ? id : parsed?.organization && `https://huggingface.co/${parsed.organization}/${parsed.name}`,
    )
  }
  return entries
}

/** Keys of generation_config.json, and of GGUF. */
const sampling: readonly (readonly [from: string, to: string, whole: boolean])[] = [
  ['top_k', 'top_k', true],
  ['top_p', 'top_p', false],
  ['min_p', 'min_p', false],
  ['xtc_probability', 'xtc_probability', false],
  ['xtc_threshold', 'xtc_threshold', false],
  ['temperature', 'temp', false],
  ['penalty_last_n', 'penalty_last_n', true],
  ['penalty_repeat', 'penalty_repeat', false],
  ['repetition_penalty', 'penalty_repeat', false],
  ['mirostat', 'mirostat', true],
  ['mirostat_tau', 'mirostat_tau', false],
  ['mirostat_eta', 'mirostat_eta', false],
]

function samplingEntries(settings: Fields | undefined): Entry[] {
  if (!settings) return []
  const entries = new Map<string, Entry[1]>()
  for (const [from, to, whole] of sampling) {
    const value = settings.value(from)
    if (typeof value !== 'number' || entries.has(to)) continue
    const fits = Number.isInteger(value) && Math.abs(value) < 2 ** 31
    if (!whole || fits) entries.set(to, whole ? int32(value) : float32(value))
  }
  const found = [...entries].map(([key, value]): Entry => [`general.sampling.${key}`, value])
  return settings.has('sequence')
    ? [['general.sampling.sequence', string(settings.string('sequence'))], ...found]
    : found
}
