/**
 * Chooses the format of each tensor of a model from its recipe and the user's overrides, as llama-quantize of llama.cpp 0.5.0 does
 * (llama_tensor_get_type and tensor_type_fallback in src/llama-quant.cpp). Positions of the recipes' rules are counted over the tensors in
 * llama.cpp's order (outside blocks first, then by block, then by name), so the order of the file does not matter.
 */
import { QuenchError } from '../errors.js'
import { ggmlTypes } from '../gguf/types.js'
import { type ModelFacts, type Place, recipes } from './recipes.js'
import { formatOf } from './table.js'
import { byLayerThenName, isRounded, kindOf, layerOf, type TensorFacts } from './tensors.js'
import { BF16 } from './types/bf16.js'
import { F16 } from './types/f16.js'
import { F32 } from './types/f32.js'
import { Q3_K } from './types/q3_k.js'
import { Q4_K } from './types/q4_k.js'
import { Q5_K } from './types/q5_k.js'
import { Q6_K } from './types/q6_k.js'
import { Q8_0 } from './types/q8_0.js'

/** Overrides of a recipe. Types are ggml_type ids. */
export interface TypeChoices {
  /** Whether the quantizer has an importance matrix, which changes Q4_0, Q5_0, IQ4_NL, IQ4_XS and IQ3_XXS only. */
  readonly importance?: boolean | undefined
  /** The recipe's default format for all matrices. */
  readonly pure?: boolean | undefined
  /** Types by regular expressions on tensor names; the first match decides. */
  readonly rules?: readonly { readonly pattern: RegExp; readonly type: number }[] | undefined
  /** Type of `output.weight`, or of the tied embedding. */
  readonly output?: number | undefined
  /** Type of the token embeddings. */
  readonly embedding?: number | undefined
  /** Leave `output.weight` as it is. */
  readonly leaveOutput?: boolean | undefined
}

/** The type of a tensor. */
export interface AssignedType {
  readonly type: number
  /** The originally chosen type, if its block size does not divide the rows. */
  readonly wanted?: number
}

/**
 * The type of every tensor of a model quantized with a recipe, by tensor name. A tensor that is not quantized keeps its type, even if it
 * has no `Format`. The types of `output` and `embedding` are used whether they fit the rows or not.
 * @throws QuenchError for an unknown recipe, for a tensor of experts whose name has no layer of the model, and for rows that the block
 * size of a type without a fallback does not divide, as llama-quantize does
 */
export function chooseTypes(
  recipe: string,
  model: ModelFacts,
  tensors: readonly TensorFacts[],
  choices: TypeChoices = {},
): Map<string, AssignedType> {
  if (!Object.hasOwn(recipes, recipe)) {
    throw new QuenchError(`unknown recipe ${recipe}: one of ${Object.keys(recipes).join(', ')}`)
  }
  const { type } = recipes[recipe]
  const { rules = [], leaveOutput } = choices
  const rounds = ![F32.type, F16.type, BF16.type].includes(type)
  const byRecipe = choices.pure ? () => type : chooser(recipe, model, tensors, choices)
  const ruleOf = (name: string) => rules.find(({ pattern }) => pattern.test(name))

  const types = new Map<string, AssignedType>()
  for (const tensor of [...tensors].sort(byLayerThenName)) {
    const { name } = tensor
    const fixed = fixedType(name, choices, ruleOf(name) !== undefined)
    if (!isRounded(tensor) || (leaveOutput && kindOf(name) === 'output'))
      types.set(name, { type: tensor.type })
    else if (fixed !== undefined) types.set(name, { type: fixed })
    else if (!rounds) types.set(name, { type })
    else types.set(name, fitRows(ruleOf(name)?.type ?? byRecipe(name), tensor))
  }
  return types
}

/** The ggml_type ids of `chooseTypes`, by tensor name. */
export const assignTypes = (...args: Parameters<typeof chooseTypes>): Map<string, number> =>
  new Map(Array.from(chooseTypes(...args), ([name, { type }]) => [name, type]))

/** The type from `output` or `embedding`, if any. A rule can override it for per-layer embeddings only. */
function fixedType(name: string, { output, embedding }: TypeChoices, hasRule: boolean): number | undefined {
  const kind = kindOf(name)
  if (kind === 'output') return output
  return kind === 'embedding' && !(hasRule && name === 'per_layer_token_embd.weight') ? embedding : undefined
}

/** Returns a function from a tensor to the recipe's type. It counts tensors, so it must be called in llama.cpp's order. */
function chooser(
  recipe: string,
  model: ModelFacts,
  tensors: readonly TensorFacts[],
  choices: TypeChoices,
): (name: string) => number {
  const { type, embedding, low, attnV, attnK, attnQ, attnOutput, ffnDown, ffnUpGate } = recipes[recipe]
  const falcon = model.architecture === 'falcon'
  const eightExperts = model.experts === 8
  const queriesPerKey = model.headsKv > 0 ? Math.floor(model.heads / model.headsKv) : 0
  const tied = !tensors.some(({ name }) => name === 'output.weight')
  const valueTensors = tensors.filter(({ name }) => kindOf(name) === 'attnV').length
  const outputName = tied ? 'token_embd.weight' : 'output.weight'
  const { blockSize = 1 } = ggmlTypes.get(type) ?? {}
  const whole = tensors.every(({ name, shape }) => name !== outputName || shape[0] % blockSize === 0)
  const byType = type === Q8_0.type || !whole ? Q8_0.type : (recipes[recipe].output ?? Q6_K.type)
  const output = choices.output ?? (falcon ? Q8_0.type : byType)
  const { importance = false } = choices
  const { experts } = model
  const facts = { falcon, queriesPerKey, experts, eightExperts, importance }
  const place = (i: number, n: number): Place => ({ i, n, ...facts })
  let values = 0
  const counts = { ffnDown: 0, ffnUp: 0, ffnGate: 0 }
  const inLayer = (kind: keyof typeof counts, name: string): Place => {
    const i = counts[kind]++
    return place(experts > 1 && !low ? layerOf(name, model.layers) : i, model.layers)
  }

  return (name) => {
    const kind = kindOf(name)
    switch (kind) {
      case 'embedding':
        return tied ? output : (embedding ?? type)
      case 'output':
        return output
      case 'attnV': {
        const chosen = attnV?.(place(values++, valueTensors)) ?? type
        if (low) return chosen
        if (eightExperts) return Q8_0.type
        return is70B(model) && (chosen === Q3_K.type || chosen === Q4_K.type) ? Q5_K.type : chosen
      }
      case 'attnK':
        return eightExperts && !low ? Q8_0.type : (attnK?.(place(0, model.layers)) ?? type)
      case 'attnQ':
        return attnQ?.(place(0, model.layers)) ?? type
      case 'attnOutput':
        return attnOutput?.(place(0, model.layers)) ?? type
      case 'ffnDown':
        return ffnDown?.(inLayer('ffnDown', name)) ?? type
      case 'ffnUp':
      case 'ffnGate':
        return ffnUpGate?.(inLayer(kind, name)) ?? type
      default:
        return type
    }
  }
}

/**
 * Layer count of the models that llama.cpp calls 70B. Eight query heads share a key and value head there: attn_v is small and gets
 * at least Q5_K.
 */
const layersOf70B = new Map([
  ['llama', 80],
  ['llama-embed', 80],
  ['qwen2', 80],
  ['deci', 80],
  ['olmo', 80],
  ['jais2', 68],
])

function is70B({ architecture, layers, heads, headsKv }: ModelFacts): boolean {
  const multiHead = architecture.startsWith('llama') && heads === headsKv // Llama 65B
  return layersOf70B.get(architecture) === layers && !multiHead
}

/** Largest block size that falls back to F16. */
const shortBlock = 32

/** `wanted`, or its fallback for rows that its block size does not divide. */
function fitRows(wanted: number, { name, shape: [rowLength] }: TensorFacts): AssignedType {
  const fits = (type: number): boolean => rowLength % (ggmlTypes.get(type)?.blockSize ?? 1) === 0
  if (fits(wanted)) return { type: wanted }
  const { name: format = '', blockSize = 0 } = ggmlTypes.get(wanted) ?? {}
  const smaller = formatOf(wanted)?.smaller
  if (smaller === undefined && blockSize > shortBlock)
    throw new QuenchError(
      `tensor ${name}: rows of ${rowLength} weights are no whole number of ${format} blocks of ${blockSize}, and llama.cpp has no type in its place; choose another type`,
    )
  return { type: smaller !== undefined && fits(smaller) ? smaller : F16.type, wanted }
}
