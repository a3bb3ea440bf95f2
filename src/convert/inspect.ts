/** What is in a checkpoint, by its configuration and the headers of its weights: no weight is read, so it may lie far away. */
import {
  Checkpoint,
  Fields,
  isWeights,
  parseObject,
  type StoredTensor,
  safetensorsHeader,
} from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import { type Inspection, quote, type ShortValue } from '../gguf/index.js'
import { mostSkimmed, type RangeSource } from '../gguf/skim.js'
import { statIfThere } from '../system-errors.js'
import { sourceOf } from './convert.js'
import { ggufName } from './names.js'
import { Quantization } from './quantization.js'
import { conversionOf } from './table.js'

const itemsShown = 5
/** Headers that are asked for at once. */
const atOnce = 8

/** The contents of a checkpoint in a folder. @throws FileError for what is damaged or missing, not for what cannot be converted */
export async function inspectCheckpoint(folder: string): Promise<Inspection> {
  const checkpoint = await Checkpoint.open(folder)
  try {
    const paths = [...new Set([...checkpoint.tensors.values()].map(({ path }) => path))]
    const bytes = paths.reduce((sum, path) => sum + (statIfThere(path)?.size ?? 0), 0)
    return await describe(checkpoint, paths, bytes)
  } finally {
    await checkpoint.close()
  }
}

/**
 * The same of a checkpoint that lies elsewhere, of which at most 2 MiB a file are read.
 * @param name of the checkpoint, for messages
 * @param sources of config.json and of all safetensors files, by their names in the checkpoint
 */
export async function inspectRemoteCheckpoint(
  name: string,
  sources: ReadonlyMap<string, RangeSource>,
): Promise<Inspection> {
  const file = sources.get('config.json')
  if (!file) throw new FileError(name, 'is no checkpoint: it has no config.json')
  if (file.size > mostSkimmed)
    throw new FileError(file.name, `has ${file.size} bytes, as no configuration has`)
  const config = new Fields(file.name, parseObject(file.name, await file.read(0, file.size)))
  const weights = [...sources.keys()]
    .filter(isWeights)
    .sort()
    .map((each) => sources.get(each) as RangeSource)
  if (weights.length === 0) throw new FileError(name, 'has no weights: no file model*.safetensors is in it')
  const tensors: StoredTensor[] = []
  for (let first = 0; first < weights.length; first += atOnce) {
    const some = weights.slice(first, first + atOnce)
    const read = await Promise.all(some.map((source) => safetensorsHeader(source, mostSkimmed)))
    tensors.push(...read.flat())
  }
  return describe(
    Checkpoint.of(name, new Set(sources.keys()), config, tensors),
    weights.map((source) => source.name),
    weights.reduce((sum, { size }) => sum + size, 0),
  )
}

async function describe(
  checkpoint: Checkpoint,
  files: readonly string[],
  bytes: number,
): Promise<Inspection> {
  const { config } = checkpoint
  const text = textConfig(config)
  const number = (key: string): number | undefined => {
    const value = text.value(key)
    return typeof value === 'number' ? value : undefined
  }
  const [context, vocabulary] = [number('max_position_embeddings'), number('vocab_size')]
  const { architecture, problems } = await conversionProblems(checkpoint)
  const tensors = [...checkpoint.tensors.values()]
  const types = typesOf(tensors)
  const parameters = types.reduce((sum, { weights }) => sum + weights, 0)
  const stored = types.reduce((sum, type) => sum + type.bytes, 0)
  const [most] = [...types].sort((a, b) => b.weights - a.weights)
  return {
    path: checkpoint.folder,
    files,
    ...(architecture !== undefined && { architecture }),
    type: most?.type ?? 'none',
    bytes,
    parameters,
    bitsPerWeight: parameters > 0 ? (stored * 8) / parameters : 0,
    types,
    quantized: config.has('quantization_config') || types.some(({ type }) => type.startsWith('F8_')),
    ...(context !== undefined && { context }),
    ...(vocabulary !== undefined && { vocabulary }),
    problems,
    metadata: Object.fromEntries(flat(config.values)),
    tensors: tensors.map(({ name, shape, dtype, bytes: size }) => ({
      name,
      shape: [...shape].reverse(),
      type: dtype,
      bytes: size,
    })),
  }
}

/** A configuration of a stranger may have anything here. */
function textConfig(config: Fields): Fields {
  try {
    return config.object('text_config') ?? config
  } catch {
    return config
  }
}

/** The architecture's name in GGUF, or as the configuration names it, and why the checkpoint cannot be converted. */
async function conversionProblems(checkpoint: Checkpoint) {
  let architecture: string | undefined
  const problems: string[] = []
  try {
    const found = checkpoint.config.value('model_type')
    if (typeof found === 'string') architecture = found
    const { conversion, className } = conversionOf(checkpoint.config)
    architecture = conversion.name
    const source = sourceOf(checkpoint.config, conversion, className)
    conversion.check?.(source)
    const quantization = await Quantization.of(checkpoint, source.config)
    const lost = [...checkpoint.tensors.keys()].find(
      (name) => !quantization.holds(name) && ggufName(name, conversion) === undefined,
    )
    if (lost !== undefined)
      problems.push(`the tensor ${quote(lost)} has no place in a ${architecture} model; it would be lost`)
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    problems.push(`it ${error.problem}`)
  }
  return { architecture, problems }
}

function typesOf(tensors: readonly StoredTensor[]) {
  const types = new Map<string, { type: string; tensors: number; weights: number; bytes: number }>()
  for (const { dtype, shape, bytes } of tensors) {
    const entry = types.get(dtype) ?? { type: dtype, tensors: 0, weights: 0, bytes: 0 }
    entry.tensors++
    entry.weights += shape.reduce((product, size) => product * size, 1)
    entry.bytes += bytes
    types.set(dtype, entry)
  }
  return [...types.values()].sort((a, b) => b.bytes - a.bytes)
}

/** The values of the configuration, those within others by names like `text_config.hidden_size`. */
function flat(values: Readonly<Record<string, unknown>>, within = ''): [string, ShortValue][] {
  return Object.entries(values).flatMap(([key, value]): [string, ShortValue][] => {
    if (value === null) return []
    if (Array.isArray(value)) return [[within + key, listOf(value)]]
    if (typeof value === 'object') return flat(value as Record<string, unknown>, `${within}${key}.`)
    return [[within + key, value as string | number | boolean]]
  })
}

function listOf(items: readonly unknown[]): ShortValue {
  const kinds = new Set(items.map((item) => (item === null ? 'null' : typeof item)))
  const [only = 'string'] = kinds
  return {
    itemType: kinds.size > 1 ? 'mixed' : only,
    length: items.length,
    first: items
      .slice(0, itemsShown)
      .map((item) =>
        typeof item === 'string' || typeof item === 'number' || typeof item === 'boolean'
          ? item
          : JSON.stringify(item),
      ),
  }
}
