/** Predictions that are not finite numbers, and the weight that makes them so. */
import { FileError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { notFinite } from '../models/large-weights.js'

const problem = 'it gives predictions that are not finite numbers'

/** A model of which no statistics can be made. */
export class NotFiniteError extends FileError {
  constructor(path: string) {
    super(path, problem)
  }
}

/** Of such an error one that names the weight, if a tensor of floats has one; others as they are. */
export async function explained(error: unknown): Promise<unknown> {
  if (!(error instanceof NotFiniteError)) return error
  const { path } = error
  const weight = await openGguf(path)
    .then(async (gguf) => notFinite(gguf).finally(() => gguf.close()))
    .catch(() => undefined) // a saved reference, for one
  return weight === undefined ? error : new FileError(path, `${problem}: ${weight}`)
}
