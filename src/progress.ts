/** Progress of any work, as every function of the API reports it. */
export interface ProgressEvent {
  readonly stage: string
  /** Done so far, in the unit of the stage (tokens, bytes, blocks ...). */
  readonly done: number
  /** Of all; it may be an estimate. */
  readonly total: number
}
