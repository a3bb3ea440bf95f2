/**
 * The description of an architecture that training uses: its hyperparameters, the tensors of a block, and the forward pass of
 * embedding, block and head as graphs. Adding one takes one file and one line in `table.ts`.
 *
 * The residual stream passes from the embedding through the blocks. Other inputs of later blocks (keys and values of an
 * earlier layer, an additional embedding) are side inputs with names, see `consumes`.
 */
import type { Gguf } from '../gguf/index.js'
import type { Shape, Tensor } from '../graph/index.js'

/** The numbers that every decoder shares, named as in GGUF. */
export interface ModelConfig {
  readonly architecture: string
  /** Number of blocks. */
  readonly layers: number
  /** Width of the residual stream (`embedding_length`). */
  readonly width: number
  readonly vocabulary: number
  /** Context length, in tokens, that the model was trained with. */
  readonly context: number
  readonly normEpsilon: number
  /** Whether the output matrix is the token embedding. */
  readonly tied: boolean
}

/** Size of a batch of windows that run through a program together. */
export interface Batch {
  /** Number of windows. */
  readonly windows: number
  /** Tokens per window. */
  readonly length: number
}

/** Shapes of tensors by name, as used in graphs: (out, in). */
export type Shapes = Readonly<Record<string, Shape>>
export type Tensors = Readonly<Record<string, Tensor>>

/** A side input of a block, in addition to the residual stream. */
export interface Source {
  /** The name under which the embedding or an earlier block produces it. */
  readonly from: string
  readonly shape: Shape
  /** If set, only the n-th piece of this shape is used, not the whole tensor. */
  readonly piece?: number
}

export interface Architecture<C extends ModelConfig = ModelConfig> {
  readonly name: string
  /** Reads and checks hyperparameters and tensors. @throws FileError naming the missing or unsupported one */
  read(gguf: Gguf): Promise<C>

  /** Tables of which each token selects a row, (vocabulary, columns). They may be too large to be copied. */
  tables(config: C): Shapes
  /** The other tensors that the embedding computes with. */
  embedTensors(config: C): Shapes
  /** Tensors that the head computes with; a table is among them if the output is tied. */
  headTensors(config: C): Shapes
  /** Tensors of one block, by their names without the `blk.N.` prefix. */
  blockTensors(config: C, layer: number): Shapes

  /** Whether llama.cpp multiplies the products with a matrix of a block by the scale of its tensor (formats/tensor-scale.ts). */
  readsScale(name: string): boolean

  /** Blocks with the same tensors and links may still compute differently; those of one kind do not. */
  kind(config: C, layer: number): string
  /** The block's side inputs, by the names that the block uses. */
  consumes(config: C, layer: number, batch: Batch): Readonly<Record<string, Source>>
  /** The block's side outputs: from its own names to the names for consumers. */
  produces(config: C, layer: number): Readonly<Record<string, string>>

  /**
   * The residual stream `x` before the first block, (tokens, width), and side inputs of blocks. `rows` are the rows that the
   * tokens select from `tables`, (tokens, columns).
   */
  embed(config: C, rows: Tensors, weights: Tensors): Tensors
  /**
   * Forward pass of a block. `inputs` are the residual stream `x` before it, (windows * length, width), and the tensors that
   * it `consumes`; the result is `x` after it and the tensors that it `produces`. `weights` are named as in `blockTensors`.
   */
  block(config: C, layer: number, inputs: Tensors, weights: Tensors, batch: Batch): Tensors
  /** Logits (tokens, vocabulary) from the residual stream after the last block. */
  head(config: C, x: Tensor, weights: Tensors): Tensor
}
