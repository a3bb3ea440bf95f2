/**
 * Errors meant for the user: one sentence that names the file, tensor or option and says what to do. The command line prints
 * `message` and nothing else; anything that is not a `QuenchError` is a bug in quench.
 */
export class QuenchError extends Error {
  override name = 'QuenchError'
  /** Exit code of the command: 1 failure, 2 usage error. */
  readonly exitCode: 1 | 2 = 1
}

/** An invalid option or argument. */
export class UsageError extends QuenchError {
  override name = 'UsageError'
  override readonly exitCode = 2
}

/** A file that is truncated, damaged or not what it should be. */
export class FileError extends QuenchError {
  override name = 'FileError'
  constructor(
    readonly path: string,
    readonly problem: string,
    options?: ErrorOptions,
  ) {
    super(`${path || '(empty name)'}: ${problem}`, options)
  }
}

/**
 * The error to throw for work on tensors of a file: one that names no file gets the names of both.
 * @param tensors one name or several, e.g. `blk.0.ffn_up.weight`
 */
export function aboutTensors(path: string, tensors: string | readonly string[], error: unknown): unknown {
  if (!(error instanceof QuenchError) || error instanceof FileError || error instanceof UsageError)
    return error
  return new FileError(path, `${[tensors].flat().join(', ')}: ${error.message}`, { cause: error })
}
