/** The name of an output that nobody named: beside the input, after its type, and never that of a file which is there already. */
import { lstatSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { UsageError } from '../errors.js'

/** `models/NAME-Q4_K_M.gguf` of `models/NAME-f16.gguf` and `Q4_K_M`. */
export function nameBeside(input: string, ending: string): string {
  const name = basename(input)
    .replace(/\.gguf$/i, '')
    .replace(/-\d{5}-of-\d{5}$/, '')
    .replace(/(?<=.)[-._](f32|f16|bf16|fp16|fp32)$/i, '')
  return join(dirname(input), `${name}-${ending}.gguf`)
}

/** @throws UsageError for a file that exists and was not asked to be replaced */
export function newName(input: string, ending: string): string {
  const path = nameBeside(input, ending)
  if (lstatSync(path, { throwIfNoEntry: false }))
    throw new UsageError(
      `${path} exists already; name another output with --output, or the same to replace it`,
    )
  return path
}
