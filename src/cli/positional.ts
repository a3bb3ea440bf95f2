/** `[OUTPUT] TYPE [THREADS]` after the input, in the order of llama-quantize. */
import { UsageError } from '../errors.js'
import { fileTypeNamed } from '../gguf/file-types.js'
import { meantType } from '../quantize/meant-type.js'
import { fileType } from './options.js'

/** Of the arguments after the input, in help. */
export const positionalHelp =
  '[OUTPUT] TYPE [THREADS], as llama-quantize takes them; --output, --type and --threads say the same'

function meant(text: string): string | undefined {
  const similar = meantType(text)
  return similar === undefined ? undefined : `did you mean ${similar}?`
}

interface Asked {
  readonly type: string
  readonly output?: string
  readonly threads?: number
}

/**
 * `[OUTPUT] TYPE [THREADS]`: as in llama-quantize, the first argument is the output unless it is the name of a type.
 * @throws UsageError if an argument is missing, superfluous or given twice
 */
export function positional(
  command: 'quantize' | 'train',
  more: readonly string[],
  options: Omit<Asked, 'type'> & { type?: string },
): Asked {
  const rest = [...more]
  const take = (): string | undefined => rest.shift()
  const hasOutput = rest.length > 0 && (options.type !== undefined || fileTypeNamed(rest[0]) === undefined)
  const output = hasOutput ? take() : undefined
  const typed = options.type === undefined ? take() : undefined
  const threads = options.type === undefined ? take() : undefined
  const type = options.type ?? (typed === undefined ? undefined : fileType(typed))
  if (type === undefined)
    throw new UsageError(
      output === undefined
        ? `the type is missing; name it after the input, as in \`quench ${command} model-f16.gguf Q4_K_M\``
        : `"${output}" is not a file type; ${meant(output) ?? 'name one such as Q4_K_M after it, or with --type'}`,
    )
  if (rest.length > 0)
    throw new UsageError(
      `"${rest[0]}" is one argument too many; ${command} takes INPUT [OUTPUT] TYPE [THREADS]`,
    )
  if (output !== undefined && options.output !== undefined)
    throw new UsageError(`the output is given twice, as ${output} and with --output; leave one out`)
  if (threads !== undefined && !/^[1-9]\d{0,2}$/.test(threads))
    throw new UsageError(`"${threads}" is no number of threads; give a whole number from 1 to 512`)
  const path = options.output ?? output
  const count = options.threads ?? (threads === undefined ? undefined : Number(threads))
  return {
    type,
    ...(path !== undefined && { output: path }),
    ...(count !== undefined && { threads: count }),
  }
}
