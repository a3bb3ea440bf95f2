/** An importance matrix in an open file, and in memory. */

/** The values of one tensor. */
export interface ImatrixEntry {
  /** Number of values: one for each input of the matrix; experts are concatenated. */
  readonly length: number
  /** The mean squares, as llama-quantize computes them from what is stored. @throws FileError if the file became shorter */
  read(): Promise<Float32Array<ArrayBuffer>>
}

/** An open file of an importance matrix. */
export interface ImatrixFile {
  readonly path: string
  /** Entries by tensor name. */
  readonly entries: ReadonlyMap<string, ImatrixEntry>
  /** Names of the texts that it was computed from. */
  readonly datasets: readonly string[]
  /** Number of chunks that it was computed from; 0 if the file does not say. */
  readonly chunks: number
  close(): Promise<void>
}

/** An importance matrix in memory. */
export interface Imatrix {
  /** Mean squares of the inputs of every matrix, by tensor name; experts are concatenated. */
  readonly importance: ReadonlyMap<string, Float32Array>
  readonly datasets: readonly string[]
  readonly chunks: number
}
