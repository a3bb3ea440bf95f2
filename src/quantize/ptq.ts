/**
 * Plain post-training quantization of a file by libllama: byte-identical to llama-quantize, and written completely or not at all. File
 * types that libllama lacks are made by quench's own recipes. Problems that libllama would report at the end or unclearly are checked
 * first.
 */
import { stat } from 'node:fs/promises'
import { FileError } from '../errors.js'
import { commitTemporary, discardTemporary, openTemporary, openTemporaryParts } from '../files.js'
import { openGguf } from '../gguf/index.js'
import type { Summary } from '../gguf/summary.js'
import type { KeptLattices } from '../lattice/index.js'
import { COPY } from '../llama/native-work.js'
import { quantizeModel } from '../llama/quantize.js'
import type { ProgressEvent } from '../notices.js'
import { checkOptionNames } from '../option-checks.js'
import { withOutputs } from '../outputs.js'
import { partPath } from '../paths.js'
import { followDigest, placesOf } from '../provenance/growing-digest.js'
import { seal } from '../provenance/seal.js'
import { checkFreeSpace } from '../reserve.js'
import { readInputWeights, type WeightReport } from './input-weights.js'
import { checkSettings, type QuantizeSettings, settingNames, typeFiles, writesItself } from './options.js'
import {
  checkPossible,
  findLattices,
  type PreparedQuantization,
  prepareQuantization,
  type QuantizePlan,
  type TensorPlan,
} from './plan.js'
import { defaultAlignment } from './size.js'

export interface QuantizeFileOptions extends QuantizeSettings {
  /** Stages are `quantize` (bytes), `grid` where codes of a checkpoint are kept (weights), and `checksum` (bytes). */
  readonly onProgress?: (event: ProgressEvent) => void
}

/** Result of `quantizeFile`. */
export interface QuantizeFileResult {
  /** The output; of a split model the first part. */
  readonly path: string
  /** File type, e.g. `Q4_K_M`. */
  readonly type: string
  readonly bytes: number
  readonly bitsPerWeight: number
  readonly input: QuantizePlan['input']
  readonly seconds: number
  /** Tensors in another type than the file type gives them, since its blocks do not divide their rows; absent if there are none. */
  readonly fallbacks?: readonly TensorPlan[]
  /** Matrices of the input that lie on a grid, as those of QAT checkpoints; absent if there are none. */
  readonly lattice?: KeptLattices
  readonly warnings: readonly string[]
}

/**
 * Quantizes the GGUF file `input` to a file type of llama.cpp (`Q4_K_M`). An `output` that exists is replaced, but only
 * once the new file is whole. With `keepSplit` the parts of a split model are `output-00001-of-00003.gguf` and so on, without an
 * ending `.gguf` of `output` itself; each is whole, and the first one, which names the others, comes last.
 * @throws UsageError for an unknown type; FileError for an input that is damaged or quantized already, and for an
 * output that cannot be written
 */
export async function quantizeFile(
  input: string,
  output: string,
  type: string,
  options: QuantizeFileOptions = {},
): Promise<QuantizeFileResult> {
  checkOptionNames(options, { ...settingNames, onProgress: true })
  checkSettings(type, options)
  const outputs = options.keepSplit ? await partsOf(input, output) : [output]
  const { imatrix, tensorTypes = [] } = options
  return withOutputs(
    {
      writes: outputs.map((path) => ({ path, by: 'the output' })),
      reads: [
        { path: input, by: 'the input' },
        ...(imatrix === undefined ? [] : [{ path: imatrix, by: '--imatrix' }]),
        ...typeFiles(tensorTypes),
      ],
    },
    () => quantizeTo(outputs, input, type, options),
  )
}

/** The names of the output's parts; a model in one file stays one. */
async function partsOf(input: string, output: string): Promise<string[]> {
  const gguf = await openGguf(input)
  await gguf.close()
  const { length } = gguf.files
  if (length === 1) return [output]
  const prefix = output.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, '')
  return Array.from({ length }, (_, part) => partPath(prefix, part, length))
}

async function quantizeTo(
  outputs: readonly string[],
  input: string,
  type: string,
  options: QuantizeFileOptions,
): Promise<QuantizeFileResult> {
  const start = performance.now()
  const prepared = await prepareQuantization(input, type, options)
  const { plan } = prepared
  checkPossible(plan)
  await checkFreeSpace(outputs[0], plan.bytes)
  const { after, weights, lattice, lost } = await write(outputs, prepared, options)
  const fallbacks = plan.tensors.filter(({ fallbackOf }) => fallbackOf !== undefined)
  return {
    path: outputs[0],
    type: after.type,
    bytes: after.bytes,
    bitsPerWeight: after.bitsPerWeight,
    input: plan.input,
    seconds: (performance.now() - start) / 1000,
    ...(fallbacks.length > 0 && { fallbacks }),
    ...(lattice && { lattice }),
    warnings: [...plan.warnings, ...lost, ...(weights.warning === undefined ? [] : [weights.warning])],
  }
}

interface Written {
  readonly after: Summary
  readonly weights: WeightReport
  readonly lattice: KeptLattices | undefined
  /** Warnings of grids that were lost. */
  readonly lost: readonly string[]
}

async function write(
  outputs: readonly string[],
  prepared: PreparedQuantization,
  { keepSplit, method, onProgress }: QuantizeFileOptions,
): Promise<Written> {
  const { plan, native, types, provenance } = prepared
  const { type, input } = plan
  const own = writesItself(type, { ...(method && { method }) })
  const { prefix, temporaries } =
    keepSplit && !own ? await openTemporaryParts(outputs) : await openSingle(outputs[0])
  const stopWatching = own ? () => {} : watch(temporaries, plan.bytes, onProgress)
  provenance.begin() // libllama works in another process meanwhile
  try {
    const quantized = own
      ? (await import('./by-recipe.js')).quantizeByRecipe(
          input.path,
          prefix,
          type,
          types,
          native.metadata ?? new Map(),
          {
            importance: native.importance,
            threads: native.threads,
            search: method === 'search',
            onBytes: (done) => onProgress?.({ stage: 'quantize', done, total: plan.bytes }),
          },
        )
      : quantizeModel(input.path, prefix, native, temporaries)
    const finding = findLattices(prepared)
    const following = finding.then(
      ({ lattices: { kept } }) =>
        own || temporaries.length > 1 || kept.size > 0
          ? undefined
          : followDigest(prefix, placesIn(plan), quantized),
      () => undefined,
    )
    const reading = input.type === 'F16' || type === COPY ? undefined : readInputWeights(input.path, type)
    const [done, read, found] = await Promise.allSettled([quantized, reading, finding])
    const followed = await following
    if (read.status === 'rejected') throw done.status === 'rejected' ? done.reason : read.reason
    const weights =
      read.value ??
      (done.status === 'rejected' && type !== COPY ? await readInputWeights(input.path, type) : {})
    if (weights.problem !== undefined) throw new FileError(input.path, weights.problem)
    if (done.status === 'rejected') throw done.reason
    if (found.status === 'rejected') throw found.reason
    stopWatching()
    const { lattices, warnings: lost } = found.value
    const { keepLattices } = await import('../lattice/index.js')
    const lattice = await keepLattices(input.path, temporaries[0], lattices, (done, total) =>
      onProgress?.({ stage: 'grid', done, total }),
    )
    const after = await seal(temporaries[0], provenance, onProgress, followed)
    // The first part comes last, since it names the others.
    for (const [part, temporary] of [...temporaries.entries()].toReversed())
      await commitTemporary(temporary, outputs[part])
    return { after, weights, lattice, lost }
  } catch (error) {
    for (const temporary of temporaries) await discardTemporary(temporary)
    if (error instanceof FileError && error.path === prefix)
      throw new FileError(
        outputs[0],
        'cannot be written; check the free space and the permissions of its folder',
      )
    throw error
  } finally {
    stopWatching()
    provenance.stop()
  }
}

/** Where libllama writes the tensors. */
const placesIn = ({ bytes, tensors }: QuantizePlan) =>
  placesOf(
    tensors.map((tensor) => tensor.bytes),
    bytes,
    defaultAlignment,
  )

async function openSingle(output: string): Promise<{ prefix: string; temporaries: string[] }> {
  const { temporary, handle } = await openTemporary(output)
  await handle.close()
  return { prefix: temporary, temporaries: [temporary] }
}

/** Reports the size of the growing files, since libllama reports no progress. Returns a function that stops it. */
function watch(
  paths: readonly string[],
  total: number,
  onProgress: QuantizeFileOptions['onProgress'],
): () => void {
  if (!onProgress) return () => {}
  const sizeOf = (path: string): Promise<number> =>
    stat(path).then(
      ({ size }) => size,
      () => 0,
    )
  const look = async () => {
    const sizes = await Promise.all(paths.map(sizeOf))
    const done = sizes.reduce((sum, size) => sum + size, 0)
    onProgress({ stage: 'quantize', done, total })
  }
  const timer = setInterval(look, 200)
  return () => clearInterval(timer)
}
