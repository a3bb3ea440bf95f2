/** Finding families and GPUs of the catalogue by what people and files call them. */
import { UsageError } from '../../errors.js'
import type { Catalogue, Family, Gpu } from './types.js'

/** Lower case, words apart by single dashes: `Gemma 3 4B it` and `gemma-3-4b-it` are alike. */
const plainName = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '-')
    .replace(/^-+|-+$/g, '')

/** Words that name a file or a way of training, not a model. */
const decoration =
  /-(gguf|it|instruct|chat|hf|base|pt|qat|qad|unquantized|i1|ud|imatrix|bf16|f16|fp16|f32|fp32|(i?q|tq)\d[a-z0-9_]*|mxfp4[a-z_]*|nvfp4|int4|w4a16|ct|k-m|k-s|k-l|k-xl|k|m|s|l|xl|xs|xxs|nl|0|1)(?=-|$)/g

/** The name of a model without publisher, type and words such as `it`. */
export function modelName(name: string): string {
  const base = plainName(name.replace(/^.*[\\/]/, '').replace(/\.gguf$/i, ''))
    .replace(/-\d{5}-of-\d{5}$/, '')
    .replace(/^(google|meta|mistralai|openai|microsoft|nvidia|unsloth|bartowski)[-_]/, '')
  let before = ''
  let now = base
  while (now !== before) [before, now] = [now, now.replace(decoration, '')]
  return now
}

/** The family whose id, name or repository is exactly this. */
export function familyNamed({ families }: Catalogue, name: string): Family | undefined {
  const wanted = plainName(name)
  return families.find(
    ({ id, name: own, hub, ggufRepositories = [], qat = [] }) =>
      id === wanted ||
      plainName(own) === wanted ||
      [hub, ...ggufRepositories, ...qat.map(({ repository }) => repository)].some(
        (repository) => repository.toLowerCase() === name.toLowerCase(),
      ),
  )
}

/** All sizes of a line such as `gemma-3`, the smallest first. */
export function lineNamed({ families }: Catalogue, name: string): Family[] {
  const wanted = plainName(name)
  return families.filter(({ line }) => line === wanted).sort((a, b) => a.parameters - b.parameters)
}

/** Ids of families and lines by their names. @throws UsageError for a name of neither */
export const familyIds = (catalogue: Catalogue, names: readonly string[]): string[] =>
  names.flatMap((name) => {
    const family = familyNamed(catalogue, name)
    const found = family ? [family] : lineNamed(catalogue, name)
    if (found.length === 0)
      throw new UsageError(`${name} is no family of the catalogue; \`quench catalogue\` lists them`)
    return found.map(({ id }) => id)
  })

/**
 * The family of a file: by its name where that names one, else none. A fine-tune has another name and is no member, since
 * figures of one model are not those of another.
 * @param names `general.name`, file name, repository
 */
export function familyOfFile(
  { families }: Catalogue,
  names: readonly string[],
  architecture: string | undefined,
): Family | undefined {
  const wanted = new Set(names.map(modelName).filter((name) => name !== ''))
  return families.find(
    (family) =>
      (architecture === undefined || family.architecture === architecture) &&
      [family.id, family.name, family.hub].some((name) => wanted.has(modelName(name))),
  )
}

/** The GPU of which the longest name occurs in this name: `NVIDIA GeForce RTX 4090 Laptop GPU` is no RTX 4090. */
export function gpuNamed({ gpus }: Catalogue, name: string): Gpu | undefined {
  const words = ` ${plainName(name)} `.replaceAll('-', ' ')
  let best: { readonly gpu: Gpu; readonly length: number } | undefined
  for (const gpu of gpus)
    for (const own of [gpu.id, ...gpu.names]) {
      const plain = plainName(own).replaceAll('-', ' ')
      if (words.includes(` ${plain} `) && plain.length > (best?.length ?? 0))
        best = { gpu, length: plain.length }
    }
  return best?.gpu
}

/** GPUs whose names share a word with this one, for a message. */
export function gpusLike({ gpus }: Catalogue, name: string): string[] {
  const words = plainName(name)
    .split('-')
    .filter((word) => word.length > 1)
  return gpus
    .flatMap(({ names }) => names.slice(0, 1))
    .filter((own) => words.some((word) => plainName(own).split('-').includes(word)))
    .slice(0, 5)
}
