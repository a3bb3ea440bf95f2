/**
 * Plain post-training quantization of a whole file by libllama: the same bytes as llama-quantize writes, and whole or
 * not at all; where libllama has no such file type, by a recipe of quench's own. What libllama would only find out at the end, or say
 * in its own words, is checked first.
 */
import { stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { FileError, UsageError } from '../errors.js'
import { commitTemporary, discardTemporary, openTemporary } from '../files.js'
import { recipes } from '../formats/recipes.js'
import { ggmlTypeNamed, openGguf } from '../gguf/index.js'
import { runProblem } from '../gguf/problems.js'
import { type Summary, summarize, summarizeFile } from '../gguf/summary.js'
import { checkLoads, FILE_TYPES, quantizeModel, tryEarly } from '../llama/index.js'
import { checkNumbers, threadRange } from '../option-checks.js'
import { withOutputs } from '../outputs.js'
import { targetOf } from '../paths.js'
import { quantizeByRecipe } from './by-recipe.js'
import { readInputWeights, type WeightReport } from './input-weights.js'

export interface QuantizeFileOptions {
  /** Default: as many as the machine runs at once. */
  readonly threads?: number
  /** Allow an input that is quantized already, at a loss. */
  readonly allowRequantize?: boolean
  /** Bytes written so far, a few times a second; `total` is an estimate. */
  readonly onProgress?: (bytes: number, total: number) => void
}

/** What `quantizeFile` has done. */
export interface QuantizeFileResult {
  readonly path: string
  /** File type, e.g. `Q4_K_M`. */
  readonly type: string
  readonly bytes: number
  readonly bitsPerWeight: number
  readonly input: {
    readonly path: string
    readonly type: string
    readonly bytes: number
    readonly bitsPerWeight: number
  }
  readonly seconds: number
  readonly warnings: readonly string[]
}

const ownTypes = Object.keys(recipes).filter((type) => !Object.hasOwn(FILE_TYPES, type))

/** What `quantizeFile` can write. */
export const quantizedTypes: readonly string[] = [...Object.keys(FILE_TYPES), ...ownTypes]

/**
 * Quantizes the GGUF file `input` to a file type of llama.cpp (`Q4_K_M`). An `output` that exists is replaced, but only
 * once the new file is whole.
 * @throws UsageError for an unknown type; FileError for an input that is damaged or quantized already, and for an
 * output that cannot be written
 */
export async function quantizeFile(
  input: string,
  output: string,
  type: string,
  options: QuantizeFileOptions = {},
): Promise<QuantizeFileResult> {
  if (!quantizedTypes.includes(type))
    throw new UsageError(`--type ${type} is unknown; choose one of ${quantizedTypes.join(', ')}`)
  checkNumbers(options, { threads: threadRange })
  return withOutputs(
    { writes: [{ path: output, by: 'the output' }], reads: [{ path: input, by: 'the input' }] },
    () => quantizeTo(output, input, type, options),
  )
}

async function quantizeTo(
  output: string,
  input: string,
  type: string,
  options: QuantizeFileOptions,
): Promise<QuantizeFileResult> {
  const start = performance.now()
  const before = await checkInput(input)
  if (before.quantized && !options.allowRequantize)
    throw new FileError(
      input,
      `it is quantized already (${before.type}); quantize the full-precision file, or allow the loss with --allow-requantize`,
    )
  const total = leastBytes(type, before.parameters)
  await checkSpace(output, total)
  const { temporary, handle } = await openTemporary(output)
  await handle.close()
  const stopWatching = watch(temporary, total, options.onProgress)
  let weights: WeightReport
  try {
    const quantized = ownTypes.includes(type)
      ? quantizeByRecipe(input, temporary, type, options.threads)
      : quantizeModel(input, temporary, {
          type,
          allowRequantize: options.allowRequantize ?? false,
          ...(options.threads !== undefined && { threads: options.threads }),
        })
    const reading = before.type === 'F16' ? undefined : readInputWeights(input, type)
    const [done, read] = await Promise.allSettled([quantized, reading])
    if (read.status === 'rejected') throw done.status === 'rejected' ? done.reason : read.reason
    weights = read.value ?? (done.status === 'rejected' ? await readInputWeights(input, type) : {})
    if (weights.problem !== undefined) throw new FileError(input, weights.problem)
    if (done.status === 'rejected') throw done.reason
  } catch (error) {
    await discardTemporary(temporary)
    if (error instanceof FileError && error.path === temporary)
      throw new FileError(output, 'cannot be written; check the free space and the permissions of its folder')
    throw error
  } finally {
    stopWatching()
  }
  await commitTemporary(temporary, output)
  const after = await summarizeFile(output)
  return {
    path: output,
    type: after.type,
    bytes: after.bytes,
    bitsPerWeight: after.bitsPerWeight,
    input: { path: input, type: before.type, bytes: before.bytes, bitsPerWeight: before.bitsPerWeight },
    seconds: (performance.now() - start) / 1000,
    warnings: weights.warning === undefined ? [] : [weights.warning],
  }
}

/** @throws FileError for a file that llama.cpp cannot use */
async function checkInput(input: string): Promise<Summary> {
  tryEarly([input], 'load')
  const gguf = await openGguf(input)
  try {
    const summary = await summarize(gguf)
    await checkLoads(input, 'load')
    const problem = runProblem(gguf)
    if (problem !== undefined) throw new FileError(input, problem)
    return summary
  } finally {
    await gguf.close()
  }
}

/**
 * Bytes of `parameters` weights if all had the main type of a recipe, which is the least that the file can take:
 * recipes only raise tensors. Names that are no ggml type name its smallest relative (Q4_K_M: Q4_K, IQ3_M: IQ3_XXS).
 */
function leastBytes(type: string, parameters: number): number {
  const stem = type.replace(/_(XS|S|M|L|MOE)$/, '')
  const layout = ggmlTypeNamed(type) ?? ggmlTypeNamed(stem) ?? ggmlTypeNamed(`${stem}_XXS`)
  return layout ? (parameters / layout.blockSize) * layout.blockBytes : 0
}

async function checkSpace(output: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(targetOf(output)))
  const free = bavail * bsize
  if (needed <= free) return
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`
  throw new FileError(
    output,
    `it will take at least ${megabytes(needed)} and the disk has ${megabytes(free)} free; make room or choose another folder`,
  )
}

/** Reports the size of a growing file, since libllama says nothing while it works. Returns a function that stops it. */
function watch(path: string, total: number, onProgress: QuantizeFileOptions['onProgress']): () => void {
  if (!onProgress) return () => {}
  const look = async () => {
    const bytes = await stat(path).then(
      ({ size }) => size,
      () => 0,
    )
    onProgress(bytes, Math.max(bytes, total))
  }
  const timer = setInterval(look, 200)
  return () => clearInterval(timer)
}
