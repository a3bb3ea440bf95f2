/**
 * Whole-file post-training quantization by `llama_model_quantize`: the same code, and so the same file, as the
 * `llama-quantize` command of this release; the reference that quench's own files are compared with.
 */
import { resolve } from 'node:path'
import { FileError, UsageError } from '../errors.js'
import { inNativeProcess } from './native-process.js'
import { COPY, FILE_TYPES, type PlannedTensor, type QuantizeOptions } from './native-work.js'
import { besideTrial, checkLoads } from './probe.js'

/**
 * Quantizes the GGUF file `input` to exactly the path `output`, in a separate process, which tries at the same time whether the file
 * loads, unless it was tried before.
 * @param files what is written: with `keepSplit` the parts that libllama names after `output`
 * @throws FileError with the reason; a part of `output` may have been written by then.
 */
export async function quantizeModel(
  input: string,
  output: string,
  options: QuantizeOptions,
  files: readonly string[] = [output],
): Promise<void> {
  checkType(options.type)
  if (resolve(input) === resolve(output)) {
    throw new UsageError(`The output must not be the input file ${input}.`)
  }
  const reason = await besideTrial(input, 'load', (trial) =>
    inNativeProcess('quantize', { input, output, options, files, trial }),
  )
  if (reason !== undefined) throw quantizeError(input, output, options, reason)
}

/** What `quantizeModel` would make of every tensor, in the order in which it would be written. @throws FileError with the reason */
export async function planModel(input: string, options: QuantizeOptions): Promise<readonly PlannedTensor[]> {
  checkType(options.type)
  await checkLoads(input, 'load')
  const planned = await inNativeProcess('plan', { input, options })
  if (typeof planned === 'string') throw quantizeError(input, '', options, planned)
  return planned
}

function checkType(type: string): void {
  if (type !== COPY && !Object.hasOwn(FILE_TYPES, type)) {
    throw new UsageError(`"${type}" is not a file type; choose one of ${Object.keys(FILE_TYPES).join(', ')}.`)
  }
}

function quantizeError(input: string, output: string, { type }: QuantizeOptions, reason: string): FileError {
  // C++'s message for a stream that cannot be opened or written; the input is mapped, not a stream.
  if (reason.includes('iostream error')) return new FileError(output, 'cannot be written')
  if (/requires? an imatrix/.test(reason)) return new FileError(input, importanceNeeded(type))
  return new FileError(input, `llama.cpp cannot quantize it to ${type}: ${reason}`)
}

/** Why a type is not to be had, and what to do instead. */
export const importanceNeeded = (type: string): string =>
  `${type} needs an importance matrix: make one with \`quench imatrix\` and name it with --imatrix, ` +
  'or choose a type without that need, such as IQ4_XS, IQ3_S, Q3_K_S or Q2_K'
