/**
 * What quench must know about an architecture to train it: its hyperparameters, the tensors of a block, and the
 * forward pass of embedding, block and head as graphs. Adding one is one file and one line in `table.ts`.
 *
 * From the embedding through the blocks goes the residual stream. Where later blocks read more than that (keys and
 * values of an earlier layer, an embedding of their own), it goes beside the stream under a name, see `consumes`.
 */
import type { Gguf } from '../gguf/index.js'
import type { Shape, Tensor } from '../graph/index.js'

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

/** Shapes of tensors by name, as the graph takes them: (out, in). */
export type Shapes = Readonly<Record<string, Shape>>
export type Tensors = Readonly<Record<string, Tensor>>

/** Something that a block reads besides the residual stream. */
export interface Source {
  /** The name under which the embedding or an earlier block gives it. */
  readonly from: string
  readonly shape: Shape
  /** It is the n-th piece of this shape of what is given, not all of it. */
  readonly piece?: number
}

export interface Architecture<C extends ModelConfig = ModelConfig> {
  readonly name: string
  /** Reads and checks hyperparameters and tensors. @throws FileError naming what is missing or not supported */
  read(gguf: Gguf): Promise<C>

  /** Tables of which a token chooses a row, (vocabulary, columns). They may be too large to be copied. */
  tables(config: C): Shapes
  /** The other tensors that the embedding computes with. */
  embedTensors(config: C): Shapes
  /** Tensors that the head computes with; a table among them where the output is tied. */
  headTensors(config: C): Shapes
  /** Tensors of one block, by their name without the `blk.N.` in front. */
  blockTensors(config: C, layer: number): Shapes

  /** Blocks with the same tensors and links may still compute differently: those of one kind do not. */
  kind(config: C, layer: number): string
  /** What a block reads besides the residual stream, by the name that the block has for it. */
  consumes(config: C, layer: number, batch: Batch): Readonly<Record<string, Source>>
  /** What a block gives besides the residual stream: its own name for it, and the name for those who read it. */
  produces(config: C, layer: number): Readonly<Record<string, string>>

  /**
   * The residual stream `x` before the first block, (tokens, width), and what blocks read from here. `rows` are those
   * that the tokens choose from `tables`, (tokens, columns).
   */
  embed(config: C, rows: Tensors, weights: Tensors): Tensors
  /**
   * Forward pass of a block. `inputs` are the residual stream `x` before it, (windows * length, width), and what the
   * block `consumes`; the result is `x` after it and what the block `produces`. `weights` are named as in `blockTensors`.
   */
  block(config: C, layer: number, inputs: Tensors, weights: Tensors, batch: Batch): Tensors
  /** Logits (tokens, vocabulary) from the residual stream after the last block. */
  head(config: C, x: Tensor, weights: Tensors): Tensor
}
