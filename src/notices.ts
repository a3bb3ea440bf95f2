/**
 * What is told during a long work: progress, and warnings from deep inside while the work continues. Those are Node warnings, which the
 * command prints in its own format.
 */

export const warningType = 'QuenchWarning'

export const warn = (message: string): void => process.emitWarning(message, { type: warningType })

/** Progress of any work, as every function of the API reports it. */
export interface ProgressEvent {
  readonly stage: string
  /** Done so far, in the unit of the stage (tokens, bytes, blocks ...). */
  readonly done: number
  /** Of all; it may be an estimate. */
  readonly total: number
}
