/** The architectures that quench can train, by `general.architecture`. */
import { FileError } from '../errors.js'
import { type Gguf, quote } from '../gguf/index.js'
import type { Architecture } from './architecture.js'
import { gemma3 } from './gemma3.js'
import { gemma4 } from './gemma4.js'
import { llama } from './llama.js'
import { qwen2 } from './qwen2.js'
import { qwen3 } from './qwen3.js'
import { smollm3 } from './smollm3.js'

const architectures: readonly Architecture[] = [llama, qwen2, qwen3, smollm3, gemma3, gemma4]

export const architectureNames: readonly string[] = architectures.map(({ name }) => name)

/** The architecture of a file; undefined for one that quench cannot train. */
export const knownArchitecture = ({ metadata }: Gguf): Architecture | undefined =>
  architectures.find(({ name }) => name === metadata.get('general.architecture')?.value)

/** @throws FileError listing the known architectures */
export function architectureOf(gguf: Gguf): Architecture {
  const name = gguf.metadata.string('general.architecture')
  const found = architectures.find((a) => a.name === name)
  if (found) return found
  throw new FileError(
    gguf.path,
    `has the architecture ${quote(name)}, and quench trains ${architectureNames.join(', ')}; quench quantize and quench eval work with it`,
  )
}
