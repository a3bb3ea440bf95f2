/**
 * Whole-file post-training quantization by `llama_model_quantize`: the same code, and so the same file, as the
 * `llama-quantize` command of this release; the reference that quench's own files are compared with.
 */
import { resolve } from 'node:path'
import koffi from 'koffi'
import { FileError, UsageError } from '../errors.js'
import { threadCount } from '../threads.js'
import { ggmlTypeId } from './ggml.js'
import { library } from './library.js'
import { callAsync } from './native.js'
import { inNativeProcess } from './native-process.js'
import type { QuantizeOptions } from './native-work.js'
import { checkLoads } from './probe.js'
import { type ImatrixEntry, ImatrixEntryStruct } from './structs.js'

/** File types that can be written, by name, and their `llama_ftype`. */
export const FILE_TYPES: Readonly<Record<string, number>> = {
  F32: 0,
  F16: 1,
  BF16: 32,
  Q8_0: 7,
  Q6_K: 18,
  Q5_K_M: 17,
  Q5_K_S: 16,
  Q5_1: 9,
  Q5_0: 8,
  Q4_K_M: 15,
  Q4_K_S: 14,
  Q4_1: 3,
  Q4_0: 2,
  IQ4_NL: 25,
  IQ4_XS: 30,
  MXFP4_MOE: 38,
  Q3_K_L: 13,
  Q3_K_M: 12,
  Q3_K_S: 11,
  IQ3_M: 27,
  IQ3_S: 26,
  IQ3_XS: 22,
  IQ3_XXS: 23,
  Q2_K: 10,
  Q2_K_S: 21,
  IQ2_M: 29,
  IQ2_S: 28,
  IQ2_XS: 20,
  IQ2_XXS: 19,
  Q2_0: 41,
  TQ2_0: 37,
  TQ1_0: 36,
  IQ1_M: 31,
  IQ1_S: 24,
  Q1_0: 40,
}

/**
 * Quantizes the GGUF file `input` to exactly the path `output`, in a separate process.
 * @throws FileError with the reason; a part of `output` may have been written by then.
 */
export async function quantizeModel(input: string, output: string, options: QuantizeOptions): Promise<void> {
  if (!Object.hasOwn(FILE_TYPES, options.type)) {
    throw new UsageError(
      `"${options.type}" is not a file type; choose one of ${Object.keys(FILE_TYPES).join(', ')}.`,
    )
  }
  if (resolve(input) === resolve(output)) {
    throw new UsageError(`The output must not be the input file ${input}.`)
  }
  await checkLoads(input, 'load')
  const reason = await inNativeProcess('quantize', { input, output, options })
  if (reason !== undefined) throw quantizeError(input, output, options, reason)
}

/** Checks before any work whether a type needs an importance matrix for this model. @throws FileError if so */
export async function checkImportance(input: string, type: string): Promise<void> {
  await checkLoads(input, 'load')
  const options = { type, dryRun: true }
  const reason = await inNativeProcess('quantize', { input, output: '', options })
  if (reason !== undefined) throw quantizeError(input, '', options, reason)
}

function quantizeError(input: string, output: string, { type }: QuantizeOptions, reason: string): FileError {
  // C++'s message for a stream that cannot be opened or written; the input is mapped, not a stream.
  if (reason.includes('iostream error')) return new FileError(output, 'cannot be written')
  if (/requires? an imatrix/.test(reason)) return new FileError(input, needsImportance(type))
  return new FileError(input, `llama.cpp cannot quantize it to ${type}: ${reason}`)
}

/** Why a type is unavailable, and an alternative. */
const needsImportance = (type: string): string =>
  `${type} needs an importance matrix, which quench does not make: make one with llama-imatrix and the file with ` +
  'llama-quantize --imatrix, or choose a type without that need, such as IQ4_XS, IQ3_S, Q3_K_S or Q2_K'

/**
 * Like `quantizeModel`, in this process: a file that fails an assert of libllama ends the process. @returns the reason of a
 * failure
 */
export async function quantizeNative(
  input: string,
  output: string,
  options: QuantizeOptions & { dryRun?: boolean },
): Promise<string | undefined> {
  const llama = library()
  const params = llama.quantizeDefaults()
  params.ftype = FILE_TYPES[options.type]
  params.nthread = options.threads ?? threadCount()
  if (options.tokenEmbeddingType) params.token_embedding_type = ggmlTypeId(options.tokenEmbeddingType)
  if (options.outputTensorType) params.output_tensor_type = ggmlTypeId(options.outputTensorType)
  params.pure = options.pure ?? false
  params.keep_split = options.keepSplit ?? false
  params.allow_requantize = options.allowRequantize ?? false
  params.dry_run = options.dryRun ?? false
  const matrix = options.importance && new ImportanceMatrix(options.importance)
  params.imatrix = matrix?.address ?? null
  try {
    const { result, reason } = await llama.log.during(() =>
      callAsync(llama.modelQuantize, input, output, params),
    )
    if (result !== 0) return reason()
    // A dry run only warns.
    return options.dryRun && /require an imatrix/.test(reason()) ? reason() : undefined
  } finally {
    matrix?.free()
  }
}

/** An importance matrix as the C list that `llama_model_quantize` reads: name and data of each tensor, then a null. */
class ImportanceMatrix {
  readonly address: bigint
  /** The memory that the list points to, kept alive with this object. */
  private readonly parts: (Uint8Array | Float32Array)[] = []

  constructor(importance: ReadonlyMap<string, Float32Array>) {
    this.address = koffi.alloc(ImatrixEntryStruct, importance.size + 1)
    let at = 0
    const add = (entry: ImatrixEntry): void => {
      koffi.encode(this.address, at, ImatrixEntryStruct, entry)
      at += koffi.sizeof(ImatrixEntryStruct)
    }
    for (const [tensor, values] of importance) {
      const name = new TextEncoder().encode(`${tensor}\0`)
      this.parts.push(name, values)
      add({ name: koffi.address(name), data: koffi.address(values), size: values.length })
    }
    add({ name: null, data: null, size: 0 })
  }

  free(): void {
    koffi.free(this.address)
    this.parts.length = 0
  }
}
