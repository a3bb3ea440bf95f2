/** Options of quantizing under llama-quantize's names, and their conversion to libllama's parameters. */
import { UsageError } from '../errors.js'
import type { TypeChoices } from '../formats/assign.js'
import { recipes } from '../formats/recipes.js'
import { formatOf } from '../formats/table.js'
import { ggmlTypeNamed, ggmlTypes } from '../gguf/index.js'
import { ggmlTypeId, QUANTIZABLE_TYPES } from '../llama/ggml.js'
import {
  COPY,
  FILE_TYPES,
  type OverrideValue,
  type QuantizeOptions,
  type TensorTypeRule,
} from '../llama/native-work.js'
import { checkNumbers, type OptionNames, threadRange } from '../option-checks.js'
import { meantType } from './meant-type.js'
import { type QuantizeMethod, quantizeMethods } from './methods.js'

/** A rule for the types of tensors. */
export interface TensorTypeChoice extends TensorTypeRule {
  /** The file that contains it, if any. */
  readonly file?: string
}

/** Overrides of tensor types, for quantizing and training. */
export interface TypeSettings {
  /** One type for all matrices instead of a recipe. */
  readonly pure?: boolean
  /** Tensor types, e.g. `Q6_K`, by regular expressions on tensor names; the first match decides. */
  readonly tensorTypes?: readonly TensorTypeChoice[]
  /** Tensor type of `output.weight`. */
  readonly outputTensorType?: string
  /** Tensor type of the token embeddings. */
  readonly tokenEmbeddingType?: string
  /** Leave `output.weight` as it is. */
  readonly leaveOutputTensor?: boolean
}

export interface QuantizeSettings extends TypeSettings {
  /** Default `reference`, the bytes that llama-quantize writes. */
  readonly method?: QuantizeMethod
  /** Default: as many as the machine runs at once. */
  readonly threads?: number
  /** Allow an input that is quantized already, at a loss. */
  readonly allowRequantize?: boolean
  /** A file with an importance matrix, of `makeImatrix` or llama-imatrix. */
  readonly imatrix?: string
  /** What the output's metadata calls that file, e.g. its name alone, so that the output does not depend on where the matrix lies. Default: its path, as llama-quantize has it. */
  readonly imatrixName?: string
  /** Use the entries of the matrix in whose names one of these texts is found, or all but these. */
  readonly includeWeights?: readonly string[]
  readonly excludeWeights?: readonly string[]
  /** Write as many files as the input has. */
  readonly keepSplit?: boolean
  /** Layers to leave out; those after them move up. */
  readonly pruneLayers?: readonly number[]
  /** Metadata of the output, instead of the input's or in addition. */
  readonly overrideKv?: readonly KvOverride[]
}

/** A value of metadata. Whole numbers are written as uint32, numbers with a fraction as float32. */
export type KvOverride = { readonly key: string } & (
  | { readonly type: 'int' | 'float'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'str'; readonly value: string }
)

export const settingNames: OptionNames<QuantizeSettings> = {
  method: true,
  threads: true,
  allowRequantize: true,
  imatrix: true,
  imatrixName: true,
  includeWeights: true,
  excludeWeights: true,
  pure: true,
  tensorTypes: true,
  outputTensorType: true,
  tokenEmbeddingType: true,
  leaveOutputTensor: true,
  keepSplit: true,
  pruneLayers: true,
  overrideKv: true,
}

/** Whether a method searches for scales and codes. */
export const searchesCodes = (method: QuantizeMethod | undefined): boolean => method === 'search'

/** File types of quench's own recipes, which libllama lacks. */
const ownTypes = Object.keys(recipes).filter((type) => !Object.hasOwn(FILE_TYPES, type))

/** Whether quench writes the file by its own recipe instead of libllama. */
export const writesItself = (type: string, { method }: QuantizeSettings): boolean =>
  searchesCodes(method) || ownTypes.includes(type)

/** The reason, as a noun phrase. */
export const whyItself = (type: string, { method }: QuantizeSettings): string =>
  method === 'search' ? '--method search' : `${type}, which llama.cpp has no file type for`

/** File types with a grid, which `--method search` knows. */
export const searchedTypes = Object.keys(recipes).filter((type) => formatOf(recipes[type].type)?.grid)

/** File types that can be written. */
export const quantizedTypes: readonly string[] = [...Object.keys(FILE_TYPES), ...ownTypes]

/** Whether a file type quantizes in blocks; F16 and the like are plain floats. */
export const roundsToBlocks = (type: string): boolean => !/^(B?F\d+|COPY)$/.test(type)

/** @throws UsageError for an unknown type or option */
export function checkSettings(type: string, settings: QuantizeSettings): void {
  const known = [...quantizedTypes, COPY]
  if (!known.includes(type)) {
    const similar = meantType(type)
    throw new UsageError(
      `"${type}" is not a file type; ${similar === undefined ? `choose one of ${known.join(', ')}` : `did you mean ${similar}?`}`,
    )
  }
  checkNumbers(settings, { threads: threadRange })
  checkTensorTypes(settings, QUANTIZABLE_TYPES, 'is no type that tensors can be quantized to')
  const { method = 'reference', overrideKv = [], pruneLayers = [] } = settings
  if (!quantizeMethods.includes(method))
    throw new UsageError(`--method ${method} is unknown; choose one of ${quantizeMethods.join(', ')}`)
  if (method === 'search' && !searchedTypes.includes(type))
    throw new UsageError(
      `--method search has nothing to search for with ${type}; choose one of ${searchedTypes.join(', ')}, or leave the option out`,
    )
  checkEntryChoice(settings)
  const layer = pruneLayers.find((layer) => !Number.isSafeInteger(layer) || layer < 0)
  if (layer !== undefined) throw new UsageError(`--prune-layers: ${layer} is not a layer; they begin with 0`)
  if (pruneLayers.length > 0 && writesItself(type, settings))
    throw new UsageError(
      `--prune-layers is not possible with ${whyItself(type, settings)}; prune with the type ${COPY} first`,
    )
  for (const override of overrideKv) {
    const problem = overrideProblem(override)
    if (problem !== undefined) throw new UsageError(`--override-kv ${override.key}: ${problem}`)
  }
}

function checkEntryChoice({ imatrix, includeWeights = [], excludeWeights = [] }: QuantizeSettings): void {
  if (includeWeights.length > 0 && excludeWeights.length > 0)
    throw new UsageError('--include-weights and --exclude-weights exclude each other; give one of them')
  if (imatrix === undefined && includeWeights.length + excludeWeights.length > 0)
    throw new UsageError(
      `--${includeWeights.length > 0 ? 'include' : 'exclude'}-weights chooses entries of an importance matrix; name one with --imatrix`,
    )
}

/** Bytes of a key and of a text that libllama keeps. */
const mostTextBytes = 127
const tooLong = (text: string): boolean => Buffer.byteLength(text) > mostTextBytes || text.includes('\0')

function overrideProblem({ key, type, value }: KvOverride): string | undefined {
  if (key === '' || tooLong(key)) return `a key has 1 to ${mostTextBytes} bytes`
  if (key === 'general.alignment' || key.startsWith('split.'))
    return 'this key says where the data lies, and is not to be replaced'
  if (type === 'str' && tooLong(value)) return `llama.cpp takes texts of up to ${mostTextBytes} bytes`
  if (type === 'int' && !(Number.isInteger(value) && value >= 0 && value < 2 ** 32))
    return `${value} is not a whole number from 0 to 4294967295, which llama.cpp writes as uint32`
  if (type === 'float' && !Number.isFinite(Math.fround(value)))
    return `${value} is not a number that float32 can hold`
  return undefined
}

const overrideTypes = { int: 'uint32', float: 'float32', bool: 'bool', str: 'string' } as const

/** The values of `overrideKv` as they are written. */
const overrides = ({ overrideKv = [] }: QuantizeSettings): Map<string, OverrideValue> =>
  new Map(
    overrideKv.map(({ key, type, value }) => [key, { type: overrideTypes[type], value } as OverrideValue]),
  )

/**
 * @param allowed ggml_type ids
 * @param problem of other types, as the predicate of a sentence
 * @throws UsageError for other types and for expressions that are none
 */
export function checkTensorTypes(settings: TypeSettings, allowed: readonly number[], problem: string): void {
  const { tensorTypes = [], outputTensorType, tokenEmbeddingType } = settings
  const check = (option: string, name: string): void => {
    const type = ggmlTypeNamed(name.toUpperCase())
    if (type && allowed.includes(type.type)) return
    const known = allowed.map((id) => ggmlTypes.get(id)?.name).join(', ')
    throw new UsageError(`${option}: ${name} ${problem}; choose one of ${known}`)
  }
  if (outputTensorType !== undefined) check('--output-tensor-type', outputTensorType)
  if (tokenEmbeddingType !== undefined) check('--token-embedding-type', tokenEmbeddingType)
  for (const { pattern, type, file } of tensorTypes) {
    const option = `${file ?? '--tensor-type'} ${pattern}=${type}`
    check(option, type)
    checkPattern(option, pattern.toLowerCase())
  }
}

/** Whether C++ accepts the expression too: it supports only three kinds of groups that begin with a question mark. */
function checkPattern(option: string, pattern: string): void {
  try {
    if (pattern !== '' && new RegExp(pattern) && !/\(\?(?![:=!])/.test(pattern)) return
  } catch {
    // Reported below.
  }
  throw new UsageError(
    `${option}: "${pattern}" is not a regular expression of ECMAScript 3, as C++ reads them`,
  )
}

/** The files that rules are from, as inputs of a command. */
export const typeFiles = (rules: readonly TensorTypeChoice[]): { path: string; by: string }[] =>
  [...new Set(rules.flatMap(({ file = [] }) => file))].map((path) => ({ path, by: '--tensor-type-file' }))

/** As llama-quantize passes them: expressions in lower case, like tensor names. */
export const rulesOf = ({ tensorTypes = [] }: TypeSettings): TensorTypeRule[] =>
  tensorTypes.map(({ pattern, type }) => ({ pattern: pattern.toLowerCase(), type }))

/** The same for quench's own recipes. @param importance whether there is a matrix */
export function typeChoices(settings: TypeSettings, importance = false): TypeChoices {
  const { pure, leaveOutputTensor: leaveOutput, outputTensorType, tokenEmbeddingType } = settings
  const idOf = (name: string | undefined) => (name === undefined ? undefined : ggmlTypeId(name))
  return {
    importance,
    pure,
    leaveOutput,
    output: idOf(outputTensorType),
    embedding: idOf(tokenEmbeddingType),
    rules: rulesOf(settings).map(({ pattern, type }) => ({
      pattern: new RegExp(pattern),
      type: ggmlTypeId(type),
    })),
  }
}

/** Parameters of libllama that do not depend on a file. */
export function nativeOptions(type: string, settings: QuantizeSettings): QuantizeOptions {
  const { threads, outputTensorType, tokenEmbeddingType, pruneLayers = [] } = settings
  return {
    type,
    allowRequantize: settings.allowRequantize ?? false,
    pure: settings.pure ?? false,
    leaveOutputTensor: settings.leaveOutputTensor ?? false,
    keepSplit: settings.keepSplit ?? false,
    tensorTypes: rulesOf(settings),
    pruneLayers: [...new Set(pruneLayers)].toSorted((a, b) => a - b),
    metadata: overrides(settings),
    ...(threads !== undefined && { threads }),
    ...(outputTensorType !== undefined && { outputTensorType }),
    ...(tokenEmbeddingType !== undefined && { tokenEmbeddingType }),
  }
}
