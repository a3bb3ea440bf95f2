/** An importance matrix: in a file that is open, and in memory. */

/** The values of one tensor. */
export interface ImatrixEntry {
  /** Values: one for each input of the matrix, of experts one after another. */
  readonly length: number
  /** The mean squares, as llama-quantize computes them from what is stored. @throws FileError if the file became shorter */
  read(): Promise<Float32Array<ArrayBuffer>>
}

/** An open file of an importance matrix. */
export interface ImatrixFile {
  readonly path: string
  /** By the name of the tensor in the model. */
  readonly entries: ReadonlyMap<string, ImatrixEntry>
  /** What it was computed from, the names of texts. */
  readonly datasets: readonly string[]
  /** Pieces of text that it was computed from; 0 where the file does not say. */
  readonly chunks: number
  close(): Promise<void>
}

/** An importance matrix in memory. */
export interface Imatrix {
  /** Mean squares of the inputs of every matrix by the name of its tensor, of experts one after another. */
  readonly importance: ReadonlyMap<string, Float32Array>
  readonly datasets: readonly string[]
  readonly chunks: number
}
