/** The types that recipes give the tensors of a file, and of which files these are known to be libllama's. */
import { QuenchError } from '../errors.js'
import { assignTypes, chooseTypes, type TypeChoices } from '../formats/assign.js'
import { type ModelFacts, recipes } from '../formats/recipes.js'
import { byLayerThenName } from '../formats/tensors.js'
import { type Gguf, ggmlTypes } from '../gguf/index.js'
import { FILE_TYPES, type PlannedTensor } from '../llama/native-work.js'
import { type QuantizeSettings, typeChoices } from './options.js'

/** The ggml type of every tensor of a file in a recipe, with what is asked for besides. */
export const typesOf = (gguf: Gguf, recipe: string, choices?: TypeChoices): Map<string, number> =>
  assignTypes(recipe, modelFacts(gguf), gguf.tensors, choices)

/** The same as a plan, in the order of the file. */
export function planByRecipe(gguf: Gguf, recipe: string, choices: TypeChoices): PlannedTensor[] {
  const types = chooseTypes(recipe, modelFacts(gguf), gguf.tensors, choices)
  return gguf.tensors.map(({ name, type }) => ({ name, ...(types.get(name) ?? { type }) }))
}

function modelFacts({ metadata }: Gguf): ModelFacts {
  const architecture = metadata.string('general.architecture')
  const first = (key: string, fallback: number): number => {
    const full = `${architecture}.${key}`
    return metadata.get(full)?.type === 'array'
      ? (metadata.numbers(full)[0] ?? fallback)
      : metadata.number(full, fallback)
  }
  const heads = first('attention.head_count', 1)
  return {
    architecture,
    layers: metadata.number(`${architecture}.block_count`),
    heads,
    headsKv: first('attention.head_count_kv', heads),
    experts: metadata.number(`${architecture}.expert_count`, 0),
  }
}

/** Architectures that recipes were compared with libllama on, as whole models (test/oracle/architectures-recipes.test.ts). */
export const comparedArchitectures: readonly string[] = [
  'gemma3',
  'gemma4',
  'llama',
  'qwen2',
  'qwen3',
  'smollm3',
]

/** Names that C++ and JavaScript read and order alike. */
const plainName = /^(?!blk\.(?!\d{1,6}\.))[!-~]+$/

/**
 * What libllama would make of every tensor, in the order in which it would write them, without asking it.
 * @param importance whether there is an importance matrix
 * @returns undefined where only libllama knows
 */
export function knownTypes(
  gguf: Gguf,
  type: string,
  settings: QuantizeSettings,
  importance: boolean,
): PlannedTensor[] | undefined {
  const { tensorTypes = [], pruneLayers = [], overrideKv = [] } = settings
  const known =
    comparedArchitectures.includes(String(gguf.metadata.get('general.architecture')?.value)) &&
    Object.hasOwn(FILE_TYPES, type) &&
    Object.hasOwn(recipes, type) &&
    tensorTypes.length + pruneLayers.length + overrideKv.length === 0 &&
    gguf.files.length === 1 &&
    gguf.tensors.every(({ name, type }) => plainName.test(name) && isFloat(type))
  if (!known) return undefined
  try {
    return planByRecipe(gguf, type, typeChoices(settings, importance)).toSorted(byLayerThenName)
  } catch (error) {
    if (error instanceof QuenchError) return undefined // libllama says what is wrong
    throw error
  }
}

const isFloat = (type: number): boolean => ggmlTypes.get(type)?.blockSize === 1
