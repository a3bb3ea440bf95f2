/** What collecting an importance matrix takes, and what it tells meanwhile. */

export interface ImatrixOptions {
  /** A full-precision GGUF file. */
  readonly input: string
  /** GGUF file to write. */
  readonly output: string
  /** Text files and folders of them; without any the model writes the text. */
  readonly data?: readonly string[]
  /** Most tokens of the text. Default: all, or 8,192 that the model writes. */
  readonly tokens?: number
  /** Tokens of a window. Default 512, or what the model has if that is less. */
  readonly context?: number
  /** Include the output matrix, which llama-quantize usually rounds without importances. */
  readonly processOutput?: boolean
  /** Bytes that the process may take. Default: three quarters of the machine's memory. */
  readonly memory?: number
  /** Go on with a run that was stopped. */
  readonly resume?: boolean
  readonly onProgress?: (event: ImatrixEvent) => void
  readonly onWarning?: (warning: string) => void
  readonly signal?: AbortSignal
}

/** Tokens so far. */
export interface ImatrixEvent {
  readonly stage: 'write text' | 'importance'
  readonly done: number
  readonly total: number
}
