/**
 * What quench must know about an architecture to train it: its hyperparameters, the tensors of a block, and the
 * forward pass of a block as a graph. Adding one is one file and one line in `table.ts`.
 */
import type { Gguf } from '../gguf/index.js'
import type { Tensor } from '../graph/index.js'

/** The numbers that every decoder shares, in GGUF's words. */
export interface ModelConfig {
  readonly architecture: string
  /** Blocks. */
  readonly layers: number
  /** Width of the residual stream (`embedding_length`). */
  readonly width: number
  readonly vocabulary: number
  /** Longest context the model was made for, in tokens. */
  readonly context: number
  readonly normEpsilon: number
  /** The output matrix is the token embedding. */
  readonly tied: boolean
}

/** Windows that run through a program together. */
export interface Batch {
  /** Windows. */
  readonly windows: number
  /** Tokens of each window. */
  readonly length: number
}

export interface Architecture<C extends ModelConfig = ModelConfig> {
  readonly name: string
  /** Reads and checks hyperparameters and tensors. @throws FileError naming what is missing or not supported */
  read(gguf: Gguf): Promise<C>
  /** Tensors outside the blocks that the model computes with, in the shape the graph takes: (out, in). */
  outerTensors(config: C): Record<string, readonly number[]>
  /** Tensors of one block, by their name without the `blk.N.` in front, in the shape the graph takes: (out, in). */
  blockTensors(config: C, layer: number): Record<string, readonly number[]>
  /**
   * Forward pass of a block: the residual stream before it to the one after it, (windows * length, width) each.
   * `weights` are named as in `blockTensors`.
   */
  block(config: C, x: Tensor, weights: Record<string, Tensor>, batch: Batch): Tensor
  /** The residual stream before the first block, (tokens, width); `tokens` are int32 (tokens). */
  embed(config: C, tokens: Tensor, weights: Record<string, Tensor>): Tensor
  /** Logits (tokens, vocabulary) from the residual stream after the last block. */
  head(config: C, x: Tensor, weights: Record<string, Tensor>): Tensor
}
