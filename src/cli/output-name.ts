/** Default output names: beside the input, with the type as a suffix, and never the name of an existing file. */
import { lstatSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { UsageError } from '../errors.js'

/** `models/NAME-Q4_K_M.gguf` of `models/NAME-f16.gguf` and `Q4_K_M`. */
export const nameBeside = (input: string, ending: string): string => `${stemOf(input)}-${ending}.gguf`

/** `models/NAME.imatrix.gguf` of `models/NAME-f16.gguf`. */
export const imatrixName = (input: string): string => `${stemOf(input)}.imatrix.gguf`

function stemOf(input: string): string {
  const name = basename(input)
    .replace(/\.gguf$/i, '')
    .replace(/-\d{5}-of-\d{5}$/, '')
    .replace(/(?<=.)[-._](f32|f16|bf16|fp16|fp32)$/i, '')
  return join(dirname(input), name)
}

/** @throws UsageError if the file exists and replacing it was not requested */
export const newName = (input: string, ending: string): string => unused(nameBeside(input, ending))

/** @throws UsageError as `newName` does */
export function unused(path: string): string {
  if (lstatSync(path, { throwIfNoEntry: false }))
    throw new UsageError(
      `${path} exists already; name another output with --output, or the same to replace it`,
    )
  return path
}
