/**
 * Whole-file post-training quantization by `llama_model_quantize`: the same code, and so the same file, as the
 * `llama-quantize` command of this release; the reference that quench's own files are compared with.
 */
import { resolve } from 'node:path'
import { FileError, UsageError } from '../errors.js'
import { inNativeProcess } from './native-process.js'
import type { PlannedTensor, QuantizeOptions } from './native-work.js'
import { checkLoads } from './probe.js'

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

/** Every tensor keeps its type; a split model becomes one file. */
export const COPY = 'COPY'

/**
 * Quantizes the GGUF file `input` to exactly the path `output`, in a separate process.
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
  await checkLoads(input, 'load')
  const reason = await inNativeProcess('quantize', { input, output, options, files })
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
