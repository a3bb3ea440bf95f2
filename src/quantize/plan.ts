/**
 * Plans a quantization: the type of every tensor, and whether it is possible. Where quench's recipes are known to give the types that
 * libllama does, they decide, which takes no time; else libllama does in a dry run. Problems that it would find midway, or not report at
 * all, are checked here.
 */
import { FileError, UsageError } from '../errors.js'
import { type Gguf, ggmlTypes, openGguf, quote, type TensorInfo } from '../gguf/index.js'
import { runProblem } from '../gguf/problems.js'
import { type Summary, summarize } from '../gguf/summary.js'
import type { LatticePlan } from '../lattice/index.js'
import { COPY, type PlannedTensor, type QuantizeOptions } from '../llama/native-work.js'
import { checkLoads } from '../llama/probe.js'
import { importanceNeeded, planModel } from '../llama/quantize.js'
import { checkOptionNames } from '../option-checks.js'
import type { Provenance } from '../provenance/provenance.js'
import { reservedEntries } from '../provenance/seal.js'
import {
  isOuter,
  listed,
  type ModelImportance,
  missingEntries,
  readImportanceOf,
} from './imatrix/of-model.js'
import { needsImportance } from './needs-importance.js'
import {
  checkSettings,
  nativeOptions,
  type QuantizeSettings,
  settingNames,
  whyItself,
  writesItself,
} from './options.js'
import { checkRows, isRounded, unusedRules } from './plan-types.js'
import { provenanceOf } from './provenance.js'
import { type Pruned, prune } from './prune.js'
import { knownTypes } from './recipe-types.js'
import { bytesIn, type Conversion, plannedSize } from './size.js'

/** The plan of a tensor. */
export interface TensorPlan {
  readonly name: string
  /** Sizes in ggml's order, row length first. */
  readonly shape: readonly number[]
  /** Tensor types in the input and in the output, e.g. `F16` and `Q4_K`. */
  readonly from: string
  readonly to: string
  /** In the output. */
  readonly bytes: number
  /** Its name in the input, if that differs because earlier layers are left out. */
  readonly source?: string
  /** The originally chosen type, if its block size does not divide the rows. */
  readonly fallbackOf?: string
  /** The reason why it cannot be quantized to this type. */
  readonly problem?: string
}

/** Result of `planQuantization`. */
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

/** A plan with the data needed to carry it out. */
export interface PreparedQuantization {
  readonly plan: QuantizePlan
  readonly native: QuantizeOptions
  /** ggml_type ids by tensor. */
  readonly types: ReadonlyMap<string, number>
  readonly conversions: readonly Conversion[]
  readonly provenance: Provenance
}

/** As `quantizeFile` would make it, without writing anything. @throws as `quantizeFile`, but for types that need an importance matrix */
export async function planQuantization(
  input: string,
  type: string,
  settings: QuantizeSettings = {},
): Promise<QuantizePlan> {
  checkOptionNames(settings, settingNames)
  checkSettings(type, settings)
  const prepared = await prepareQuantization(input, type, settings)
  await checkLoads(input, 'load')
  const { plan } = prepared
  const { warnings } = await findLattices(prepared)
  return { ...plan, warnings: [...plan.warnings, ...warnings] }
}

/** Which weights lie on a grid, and warnings of grids that the types do not hold. @throws FileError */
export async function findLattices({
  plan: { input },
  conversions,
}: PreparedQuantization): Promise<{ lattices: LatticePlan; warnings: string[] }> {
  const { lostWarnings, planLattices } = await import('../lattice/index.js')
  const gguf = await openGguf(input.path)
  try {
    const lattices = await planLattices(gguf, conversions)
    return { lattices, warnings: lostWarnings(input.path, lattices) }
  } finally {
    await gguf.close()
  }
}

/**
 * Where libllama quantizes, the file may not have been tried yet, since that is done at the same time.
 * @throws FileError for inputs that cannot be used, UsageError for options that do not suit them
 */
export async function prepareQuantization(
  input: string,
  type: string,
  settings: QuantizeSettings,
): Promise<PreparedQuantization> {
  const gguf = await openGguf(input)
  try {
    return await prepare(gguf, type, settings)
  } catch (error) {
    await checkLoads(input, 'load') // if it does not load, that is what is wrong
    throw error
  } finally {
    await gguf.close()
  }
}

async function prepare(gguf: Gguf, type: string, settings: QuantizeSettings): Promise<PreparedQuantization> {
  const input = gguf.path
  const own = writesItself(type, settings) ? await import('./own-plan.js') : undefined
  const known = own ? undefined : knownTypes(gguf, type, settings, settings.imatrix !== undefined)
  const before = await summarize(gguf)
  if (!known) await checkLoads(input, 'load')
  const problem = runProblem(gguf) ?? quantizedProblem(before, type, settings)
  if (problem !== undefined) throw new FileError(input, problem)
  const matrix = await readFor(gguf, settings)
  const options = nativeOptions(type, settings)
  const provenance = provenanceOf(gguf, type, settings)
  const native = {
    ...options,
    ...(matrix && { importance: matrix.importance }),
    metadata: new Map([
      ...(options.metadata ?? []),
      ...(matrix?.metadata ?? []),
      ...reservedEntries(provenance, gguf.metadata),
    ]),
  }
  if (own && settings.keepSplit && gguf.files.length > 1)
    throw new UsageError(`--keep-split is not possible with ${whyItself(type, settings)}`)
  const pruned = prune(gguf, native)
  const planned = own
    ? own.planTypes(gguf, type, settings, matrix !== undefined)
    : withSources(gguf, pruned, known ?? (await askLibrary(gguf, native)))
  checkRows(gguf, planned)
  const lacking = matrix ? checkImportance(planned, type, matrix, settings.imatrix) : undefined
  const bytes = own
    ? own.writtenSize(gguf, planned, own.recipeMetadata(gguf, input, type, native.metadata))
    : plannedSize(
        gguf,
        planned,
        new Map([...(native.metadata ?? []), ...pruned.metadata]),
        settings.keepSplit ?? false,
      )
  const tensors = planned.map((tensor) => describe(gguf, tensor, type, matrix))
  const weightBytes = tensors.reduce((sum, { bytes }) => sum + bytes, 0)
  const parameters = planned.reduce((sum, { source }) => sum + source.elements, 0)
  return {
    plan: {
      type,
      bytes,
      bitsPerWeight: parameters > 0 ? (weightBytes * 8) / parameters : 0,
      input: { path: input, type: before.type, bytes: before.bytes, bitsPerWeight: before.bitsPerWeight },
      tensors,
      warnings: [
        ...(matrix?.warnings ?? []),
        ...(lacking === undefined ? [] : [lacking]),
        ...unusedRules(planned, type, settings),
      ],
    },
    native,
    types: new Map(planned.map(({ name, type }) => [name, type])),
    conversions: planned,
    provenance,
  }
}

function askLibrary({ path }: Gguf, native: QuantizeOptions): Promise<readonly PlannedTensor[]> {
  // A dry run depends only on whether there is an importance matrix.
  const stand = native.importance && new Map([['', Float32Array.of(1)]])
  return planModel(path, { ...native, ...(stand && { importance: stand }) })
}

function withSources(
  gguf: Gguf,
  { sources }: Pruned,
  planned: readonly PlannedTensor[],
): readonly Conversion[] {
  checkNames(gguf, sources, planned)
  return planned.map((tensor) => ({ ...tensor, source: sources.get(tensor.name) as TensorInfo }))
}

/** Why a file is not to be quantized again. */
const quantizedProblem = (
  { quantized, type: found }: Summary,
  type: string,
  { allowRequantize }: QuantizeSettings,
): string | undefined =>
  quantized && !allowRequantize && type !== COPY
    ? `it is quantized already (${found}); quantize the full-precision file, or allow the loss with --allow-requantize`
    : undefined

function readFor(gguf: Gguf, settings: QuantizeSettings): Promise<ModelImportance> | undefined {
  const { imatrix, imatrixName } = settings
  return imatrix === undefined ? undefined : readImportanceOf(gguf, imatrix, settings, imatrixName)
}

/** @throws FileError for a file that llama.cpp cannot use */
export async function checkUsable(gguf: Gguf): Promise<Summary> {
  const summary = await summarize(gguf)
  await checkLoads(gguf.path, 'load')
  const problem = runProblem(gguf)
  if (problem !== undefined) throw new FileError(gguf.path, problem)
  return summary
}

/** @throws FileError where libllama knows the tensors by other names, as it does those that are no text */
function checkNames(
  { path }: Gguf,
  sources: ReadonlyMap<string, TensorInfo>,
  planned: readonly PlannedTensor[],
): void {
  const strange = planned.find(({ name }) => !sources.has(name))
  if (strange || planned.length !== sources.size)
    throw new FileError(
      path,
      `llama.cpp sees ${planned.length} of its ${sources.size} tensors${strange ? `, one of them as ${quote(strange.name)}` : ''}; convert the model again`,
    )
}

/** @returns a warning of tensors that are rounded without an entry. @throws FileError for those that cannot be */
function checkImportance(
  planned: readonly Conversion[],
  type: string,
  { importance, zeros }: ModelImportance,
  path = '',
): string | undefined {
  const rounded = planned.filter(isRounded)
  const lacks = ({ source: { name } }: Conversion) => !importance.has(name) || zeros.has(name)
  const needed = rounded.filter((tensor) => needsImportance(tensor, type) && lacks(tensor))
  if (needed.length > 0)
    throw new FileError(
      path,
      `it has no importances of ${listed(needed.map(({ name }) => name))}, which ${type} needs; compute it from more text, or choose another type`,
    )
  const missing = rounded.filter(({ source: { name } }) => !importance.has(name) && !isOuter(name))
  return missingEntries(
    path,
    missing.map(({ name }) => name),
  )
}

function describe(
  gguf: Gguf,
  tensor: Conversion,
  type: string,
  matrix: ModelImportance | undefined,
): TensorPlan {
  const { name, wanted, source } = tensor
  const { shape, type: from } = source
  const nameOf = (id: number): string => ggmlTypes.get(id)?.name ?? String(id)
  const lacks = !matrix && isRounded(tensor) && needsImportance(tensor, type)
  return {
    name,
    shape,
    from: nameOf(from),
    to: nameOf(tensor.type),
    bytes: bytesIn(gguf, tensor),
    ...(source.name !== name && { source: source.name }),
    ...(wanted !== undefined && { fallbackOf: nameOf(wanted) }),
    ...(lacks && { problem: 'needs an importance matrix' }),
  }
}

/** @throws FileError where a plan cannot be carried out without an importance matrix */
export function checkPossible({ input, type, tensors }: QuantizePlan): void {
  if (tensors.some(({ problem }) => problem !== undefined))
    throw new FileError(input.path, importanceNeeded(type))
}
