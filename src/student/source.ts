/** The model to train: its file, architecture and weights, and the target type of each tensor. */
import { FileError, UsageError } from '../errors.js'
import type { Format } from '../formats/format.js'
import { layoutOf } from '../formats/grids.js'
import { recipes } from '../formats/recipes.js'
import { formatOf, formats } from '../formats/table.js'
import { type Gguf, openGguf } from '../gguf/index.js'
import { headerProblems } from '../gguf/problems.js'
import { summarize } from '../gguf/summary.js'
import { checkLoads } from '../llama/index.js'
import type { Architecture, ModelConfig } from '../models/architecture.js'
import { fingerprint } from '../models/fingerprint.js'
import { architectureOf } from '../models/table.js'
import { FileWeights, modelTensors } from '../models/weights.js'
import { choice } from '../option-checks.js'
import { readInputWeights } from '../quantize/input-weights.js'
import { needsMatrix } from '../quantize/needs-importance.js'
import { checkTensorTypes, quantizedTypes, type TypeSettings } from '../quantize/options.js'
import { planTypes } from '../quantize/own-plan.js'
import { checkRows, unusedRules } from '../quantize/plan-types.js'

/** An architecture with the hyperparameters of a model. */
export interface Model {
  readonly architecture: Architecture
  readonly config: ModelConfig
}

export interface Source extends Model {
  readonly gguf: Gguf
  /** Identifies the file's contents. */
  readonly fingerprint: string
  /** The full-precision weights by name: the teacher. */
  readonly weights: FileWeights
}

/**
 * Opens a model; its weights are read on demand.
 * @throws FileError if it is damaged or of an unknown architecture
 */
export async function openSource(path: string): Promise<Source> {
  const gguf = await openGguf(path)
  try {
    const [problem] = headerProblems(gguf)
    if (problem !== undefined) throw new FileError(path, problem)
    const architecture = architectureOf(gguf)
    const config = await architecture.read(gguf)
    const shapes = modelTensors(architecture, config)
    const weights = new FileWeights(gguf, shapes)
    return { gguf, architecture, config, fingerprint: await fingerprint(gguf), weights }
  } catch (error) {
    await gguf.close()
    throw error
  }
}

/** Whether the weights of a format lie on a grid, so that they can be solved for. */
const rounds = (format: Format | undefined): boolean => format !== undefined && layoutOf(format) !== undefined

/** The recipes that can be trained. */
export const trainableTypes: readonly string[] = Object.keys(recipes).filter((name) =>
  rounds(formatOf(recipes[name].type)),
)

/** Types of tensors that train, and halves of floats, which a tensor is left in. */
const tensorTypes: readonly number[] = formats
  .filter((format) => rounds(format) || (format.blockSize === 1 && format.blockBytes === 2))
  .map(({ type }) => type)

/** What decides the type of every tensor. */
export type TargetTypes = TypeSettings & { readonly type: string }

/** @throws UsageError for a recipe that cannot be trained, and for such types of tensors */
export function checkTrainable(options: TargetTypes): void {
  const { type } = options
  if (!trainableTypes.includes(type))
    throw new UsageError(
      // A type that exists is none that was misspelt.
      quantizedTypes.includes(type)
        ? `--type ${type} cannot be trained; choose one of ${trainableTypes.join(', ')}`
        : `--type ${type} cannot be trained; ${choice(type, trainableTypes)}`,
    )
  checkTensorTypes(options, tensorTypes, 'cannot be trained')
}

/**
 * @returns a warning of weights that quantize badly
 * @throws FileError for a file that llama.cpp cannot load, that is quantized already, or whose weights are not all finite
 */
export async function checkSource({ gguf }: Source, type: string): Promise<string | undefined> {
  const { path } = gguf
  const summary = await summarize(gguf)
  if (summary.quantized)
    throw new FileError(
      path,
      `it is quantized already (${summary.type}); train from the full-precision file (F16, BF16 or F32)`,
    )
  await checkLoads(path, 'load')
  const { problem, warning } = await readInputWeights(path, type)
  if (problem !== undefined) throw new FileError(path, problem)
  return warning
}

/**
 * The ggml type of every tensor of the file, as `quench quantize` chooses it without an importance matrix, or with one for a type that
 * needs it.
 * @throws UsageError for types that the rows of their tensors do not fit
 */
export function targetTypes(
  { gguf }: Source,
  options: TargetTypes,
  onWarning?: (warning: string) => void,
): Map<string, number> {
  const planned = planTypes(gguf, options.type, options, needsMatrix(options.type))
  checkRows(gguf, planned)
  for (const warning of unusedRules(planned, options.type, options)) onWarning?.(warning)
  return new Map(planned.map(({ name, type }) => [name, type]))
}

/** Tables that do not train and are only used for row lookups. */
export const rowTables = ({ architecture, config }: Model, untrained: ReadonlySet<string>): string[] =>
  Object.keys(architecture.tables(config)).filter(
    (name) => untrained.has(name) && !(name in architecture.headTensors(config)),
  )
