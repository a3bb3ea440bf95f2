/**
 * What a quantization would make of every tensor, and whether it can: libllama decides the types in a dry run, and what it would
 * only find out in the middle of its work, or not say at all, is checked here.
 */
import { FileError, UsageError } from '../errors.js'
import { type Gguf, ggmlTypes, openGguf, quote } from '../gguf/index.js'
import { runProblem } from '../gguf/problems.js'
import { type Summary, summarize } from '../gguf/summary.js'
import {
  COPY,
  checkLoads,
  importanceNeeded,
  type PlannedTensor,
  planModel,
  type QuantizeOptions,
  tryEarly,
} from '../llama/index.js'
import { planByRecipe, recipeMetadata } from './by-recipe.js'
import { openImatrix } from './imatrix/file.js'
import { importanceOfModel, isOuter, listed, type ModelImportance } from './imatrix/of-model.js'
import { needsImportance } from './needs-importance.js'
import {
  checkSettings,
  isOwnType,
  nativeOptions,
  type QuantizeSettings,
  roundsToBlocks,
  rulesOf,
  typeChoices,
} from './options.js'
import { bytesIn, plannedSize, writtenSize } from './size.js'

/** What becomes of a tensor. */
export interface TensorPlan {
  readonly name: string
  /** Sizes in ggml's order, row length first. */
  readonly shape: readonly number[]
  /** Tensor types in the input and in the output, e.g. `F16` and `Q4_K`. */
  readonly from: string
  readonly to: string
  /** In the output. */
  readonly bytes: number
  /** The type that was chosen first, whose blocks do not divide the rows. */
  readonly fallbackOf?: string
  /** Why it cannot be made so. */
  readonly problem?: string
}

/** What `planQuantization` gives. */
export interface QuantizePlan {
  /** File type, e.g. `Q4_K_M`. */
  readonly type: string
  /** Exact size of the output, of all parts together. */
  readonly bytes: number
  readonly bitsPerWeight: number
  readonly input: {
    readonly path: string
    readonly type: string
    readonly bytes: number
    readonly bitsPerWeight: number
  }
  /** In the order in which they are written. */
  readonly tensors: readonly TensorPlan[]
  readonly warnings: readonly string[]
}

/** A plan with what carrying it out takes. */
export interface PreparedQuantization {
  readonly plan: QuantizePlan
  readonly native: QuantizeOptions
  /** ggml_type ids by tensor. */
  readonly types: ReadonlyMap<string, number>
}

/** As `quantizeFile` would make it, without writing anything. @throws as `quantizeFile`, but for types that need an importance matrix */
export async function planQuantization(
  input: string,
  type: string,
  settings: QuantizeSettings = {},
): Promise<QuantizePlan> {
  checkSettings(type, settings)
  return (await prepareQuantization(input, type, settings)).plan
}

/** @throws FileError for inputs that cannot be used, UsageError for options that do not suit them */
export async function prepareQuantization(
  input: string,
  type: string,
  settings: QuantizeSettings,
): Promise<PreparedQuantization> {
  tryEarly([input], 'load')
  const gguf = await openGguf(input)
  try {
    const before = await checkInput(gguf, type, settings)
    const matrix = await readFor(gguf, settings)
    const native = nativeOptions(type, settings)
    const planned = isOwnType(type)
      ? planOwn(gguf, type, settings, matrix)
      : await planNative(gguf, native, matrix)
    checkRows(gguf, planned)
    const lacking = matrix ? checkImportance(gguf, planned, type, matrix, settings.imatrix) : undefined
    const added = matrix?.metadata ?? new Map()
    const bytes = isOwnType(type)
      ? writtenSize(gguf, planned, recipeMetadata(gguf, input, type, added))
      : plannedSize(gguf, planned, added, settings.keepSplit ?? false)
    const tensors = planned.map((tensor) => describe(gguf, tensor, type, matrix))
    const weightBytes = tensors.reduce((sum, { bytes }) => sum + bytes, 0)
    return {
      plan: {
        type,
        bytes,
        bitsPerWeight: before.parameters > 0 ? (weightBytes * 8) / before.parameters : 0,
        input: { path: input, type: before.type, bytes: before.bytes, bitsPerWeight: before.bitsPerWeight },
        tensors,
        warnings: [
          ...(matrix?.warnings ?? []),
          ...(lacking === undefined ? [] : [lacking]),
          ...unusedRules(gguf, planned, type, settings),
        ],
      },
      native: {
        ...native,
        ...(matrix && { importance: matrix.importance, metadata: matrix.metadata }),
      },
      types: new Map(planned.map(({ name, type }) => [name, type])),
    }
  } finally {
    await gguf.close()
  }
}

async function planNative(
  gguf: Gguf,
  native: QuantizeOptions,
  matrix: ModelImportance | undefined,
): Promise<readonly PlannedTensor[]> {
  // Of a dry run it matters only whether there is one.
  const stand = matrix && new Map([['', Float32Array.of(1)]])
  const planned = await planModel(gguf.path, { ...native, ...(stand && { importance: stand }) })
  checkNames(gguf, planned)
  return planned
}

function planOwn(
  gguf: Gguf,
  type: string,
  settings: QuantizeSettings,
  matrix: ModelImportance | undefined,
): readonly PlannedTensor[] {
  if (settings.keepSplit && gguf.files.length > 1)
    throw new UsageError(`--keep-split is not possible with ${type}, which llama.cpp has no file type for`)
  return planByRecipe(gguf, type, typeChoices(settings, matrix !== undefined))
}

/** @throws FileError for a file that llama.cpp cannot use, or not to quantize it */
async function checkInput(gguf: Gguf, type: string, settings: QuantizeSettings): Promise<Summary> {
  const { path } = gguf
  const summary = await summarize(gguf)
  await checkLoads(path, 'load')
  const problem = runProblem(gguf)
  if (problem !== undefined) throw new FileError(path, problem)
  if (summary.quantized && !settings.allowRequantize && type !== COPY)
    throw new FileError(
      path,
      `it is quantized already (${summary.type}); quantize the full-precision file, or allow the loss with --allow-requantize`,
    )
  return summary
}

async function readFor(
  gguf: Gguf,
  { imatrix, imatrixName = imatrix }: QuantizeSettings,
): Promise<ModelImportance | undefined> {
  if (imatrix === undefined) return undefined
  const file = await openImatrix(imatrix)
  try {
    return await importanceOfModel(file, gguf, imatrixName)
  } finally {
    await file.close()
  }
}

/** @throws FileError where libllama knows the tensors by other names, as it does those that are no text */
function checkNames(gguf: Gguf, planned: readonly PlannedTensor[]): void {
  const strange = planned.find(({ name }) => !gguf.has(name))
  if (strange || planned.length !== gguf.tensors.length)
    throw new FileError(
      gguf.path,
      `llama.cpp sees ${planned.length} of its ${gguf.tensors.length} tensors${strange ? `, one of them as ${quote(strange.name)}` : ''}; convert the model again`,
    )
}

/** Embeddings and output get a type that was asked for, whether it fits or not. @throws UsageError */
function checkRows(gguf: Gguf, planned: readonly PlannedTensor[]): void {
  for (const { name, type } of planned) {
    const [row] = gguf.tensor(name).shape
    const { name: to = '', blockSize = 1 } = ggmlTypes.get(type) ?? {}
    if (row % blockSize !== 0)
      throw new UsageError(
        `${quote(name)} of ${gguf.path} has rows of ${row}, which ${to} cannot cut into blocks of ${blockSize}; choose another type for it`,
      )
  }
}

const isRounded = (gguf: Gguf, { name, type }: PlannedTensor): boolean =>
  type !== gguf.tensor(name).type && (ggmlTypes.get(type)?.blockSize ?? 1) > 1

/** @returns a warning of tensors that are rounded without an entry. @throws FileError for those that cannot be */
function checkImportance(
  gguf: Gguf,
  planned: readonly PlannedTensor[],
  type: string,
  { importance, zeros }: ModelImportance,
  path = '',
): string | undefined {
  const rounded = planned.filter((tensor) => isRounded(gguf, tensor))
  const needed = rounded.filter(
    (tensor) => needsImportance(tensor, type) && (!importance.has(tensor.name) || zeros.has(tensor.name)),
  )
  if (needed.length > 0)
    throw new FileError(
      path,
      `it has no importances of ${listed(needed.map(({ name }) => name))}, which ${type} needs; compute it from more text, or choose another type`,
    )
  const missing = rounded.filter(({ name }) => !importance.has(name) && !isOuter(name))
  if (missing.length === 0) return undefined
  return `${path}: it has no importances of ${missing.length} tensors, which are rounded without: ${listed(missing.map(({ name }) => name))}`
}

function describe(
  gguf: Gguf,
  tensor: PlannedTensor,
  type: string,
  matrix: ModelImportance | undefined,
): TensorPlan {
  const { name, wanted } = tensor
  const { shape, type: from } = gguf.tensor(name)
  const nameOf = (id: number): string => ggmlTypes.get(id)?.name ?? String(id)
  const lacks = !matrix && isRounded(gguf, tensor) && needsImportance(tensor, type)
  return {
    name,
    shape,
    from: nameOf(from),
    to: nameOf(tensor.type),
    bytes: bytesIn(gguf, tensor),
    ...(wanted !== undefined && { fallbackOf: nameOf(wanted) }),
    ...(lacks && { problem: 'needs an importance matrix' }),
  }
}

/** Warnings of `--tensor-type` that change nothing. */
function unusedRules(
  gguf: Gguf,
  planned: readonly PlannedTensor[],
  type: string,
  settings: QuantizeSettings,
): string[] {
  const rules = rulesOf(settings)
  if (rules.length > 0 && !roundsToBlocks(type)) return [`--tensor-type has no effect with ${type}`]
  const rounded = planned.filter((tensor) => isRounded(gguf, tensor))
  return rules
    .filter(({ pattern }) => !rounded.some(({ name }) => new RegExp(pattern).test(name)))
    .map((rule) => `--tensor-type ${rule.pattern}=${rule.type} matches no tensor that is quantized`)
}

/** @throws FileError where a plan cannot be carried out without an importance matrix */
export function checkPossible({ input, type, tensors }: QuantizePlan): void {
  if (tensors.some(({ problem }) => problem !== undefined))
    throw new FileError(input.path, importanceNeeded(type))
}
