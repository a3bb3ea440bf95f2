/** Predictions that are not finite numbers, and the weight that causes them. */
import { FileError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { notFinite } from '../models/large-weights.js'

const problem = 'it gives predictions that are not finite numbers'

/** A model whose predictions allow no statistics. */
export class NotFiniteError extends FileError {
  constructor(path: string) {
    super(path, problem)
  }
}

/** For such an error, one that names the weight if a float tensor holds one; other errors unchanged. */
export async function explained(error: unknown): Promise<unknown> {
  if (!(error instanceof NotFiniteError)) return error
  const { path } = error
  const weight = await openGguf(path)
    .then(async (gguf) => notFinite(gguf).finally(() => gguf.close()))
    .catch(() => undefined) // e.g. a saved reference
  return weight === undefined ? error : new FileError(path, `${problem}: ${weight}`)
}
