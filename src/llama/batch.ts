/**
 * The tokens of one decode as libllama reads them: `llama_batch` with one array each for ids, positions, sequences and logits
 * flags. A context allocates the arrays once, on separate buffers, since libllama reads them from another thread and their
 * addresses must not move.
 */
import koffi from 'koffi'
import type { Batch } from './structs.js'

/** Options of `LlamaContext.decode`; arrays have one entry per token. */
export interface DecodeOptions {
  /** Position of each token in its sequence. Default: each continues its sequence. */
  positions?: ArrayLike<number>
  /** Sequence of each token. Default: all 0. */
  sequenceIds?: ArrayLike<number>
  /** Tokens whose logits are computed: all, the last (default), or those whose entry is truthy. */
  logits?: 'all' | 'last' | ArrayLike<number | boolean>
}

/** The arrays of `llama_batch` for up to `size` tokens. */
export class BatchArrays {
  private readonly token: Int32Array
  private readonly position: Int32Array
  private readonly sequence: Int32Array
  private readonly sequenceCount: Int32Array
  private readonly sequenceAddress: BigUint64Array
  private readonly output: Int8Array

  constructor(private readonly size: number) {
    const int32 = (): Int32Array => new Int32Array(new ArrayBuffer(size * 4))
    this.token = int32()
    this.position = int32()
    this.sequence = int32()
    this.sequenceCount = int32().fill(1)
    const start = koffi.address(this.sequence)
    this.sequenceAddress = BigUint64Array.from({ length: size }, (_, i) => start + BigInt(4 * i))
    this.output = new Int8Array(new ArrayBuffer(size))
  }

  /** Fills in a batch; returns the number of tokens with logits. */
  fill(tokens: ArrayLike<number>, options: DecodeOptions, vocabSize: number, sequences: number): number {
    const { positions, sequenceIds, logits = 'last' } = options
    const count = tokens.length
    if (count < 1 || count > this.size)
      throw new RangeError(`a batch of ${count} tokens, not 1 .. ${this.size}`)
    for (const array of [positions, sequenceIds, typeof logits === 'string' ? undefined : logits]) {
      if (array && array.length !== count) throw new RangeError(`${array.length} entries for ${count} tokens`)
    }
    let outputs = 0
    for (let i = 0; i < count; i++) {
      const sequence = sequenceIds ? sequenceIds[i] : 0
      if (!(tokens[i] >= 0 && tokens[i] < vocabSize))
        throw new RangeError(`token ${tokens[i]} is not in the vocabulary`)
      if (!(sequence >= 0 && sequence < sequences))
        throw new RangeError(`sequence ${sequence} is not one of ${sequences}`)
      this.token[i] = tokens[i]
      this.sequence[i] = sequence
      if (positions) this.position[i] = positions[i]
      const wanted = logits === 'all' || (logits === 'last' ? i === count - 1 : logits[i])
      this.output[i] = wanted ? 1 : 0
      outputs += this.output[i]
    }
    return outputs
  }

  asStruct(count: number, options: DecodeOptions): Batch {
    return {
      n_tokens: count,
      token: koffi.address(this.token),
      embd: null,
      pos: options.positions ? koffi.address(this.position) : null,
      n_seq_id: koffi.address(this.sequenceCount),
      seq_id: koffi.address(this.sequenceAddress),
      logits: koffi.address(this.output),
    }
  }
}
