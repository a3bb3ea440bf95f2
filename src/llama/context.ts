/**
 * Runs a model: tokens in, logits out, with a KV cache per sequence.
 *
 * With several sequences each has its own part of the cache (`kv_unified` off), which is faster than one shared cache if they
 * have no common prefix.
 */
import koffi from 'koffi'
import { FileError, QuenchError } from '../errors.js'
import { threadsForModel } from '../threads.js'
import { BatchArrays, type DecodeOptions } from './batch.js'
import { ggmlTypeId, rowSize } from './ggml.js'
import { library } from './library.js'
import type { LlamaModel } from './model.js'
import { callAsync, Handle, type NativeBuffer } from './native.js'
import type { Batch, Pointer } from './structs.js'
import { ThreadPace, undividedCells } from './thread-pace.js'
import { ThreadPool } from './threadpool.js'

const MAX_SEQUENCES = 256
const FLASH_ATTENTION = { auto: -1, off: 0, on: 1 } as const

/** Options of `LlamaContext.create`. */
export interface ContextOptions {
  /** Tokens that each sequence can hold. */
  contextSize: number
  /** Limit of tokens per `decode`. Default 2,048, or all that fit if that is less. */
  batchSize?: number
  /** Tokens computed at once within a `decode`. Default 512. */
  microBatchSize?: number
  /** Parallel sequences, 1 (default) to 256. */
  sequences?: number
  /** Default: the machine's hardware threads, but at most one per million weights. */
  threads?: number
  /** Takes fewer threads while that is faster, e.g. beside other work, to the same results (thread-pace.ts). */
  paced?: boolean
  /** Type of the KV cache, e.g. `q8_0`, or separate types for keys and values, e.g. `q8_0/f16`. Default `f16`. */
  kvType?: string
  flashAttention?: keyof typeof FLASH_ATTENTION
  /**
   * One cache for all sequences (`kv_unified`): each may hold more than `contextSize` tokens as long as all together do not,
   * and `copySequence` takes no memory. Default: each has its own.
   */
  sharedCells?: boolean
  /**
   * Layers with a sliding window keep the whole context (`swa_full`), so that any part of a sequence can be removed. Default
   * true. llama.cpp's own programs keep the window alone.
   */
  fullWindows?: boolean
}

/** Statistics of a context since it was created, or since `resetPerformance`. */
export interface Performance {
  /** Loading of the model. */
  loadMs: number
  /** Batches with several tokens per sequence. */
  promptMs: number
  promptTokens: number
  /** Batches with one token per sequence. */
  generateMs: number
  generatedTokens: number
}

export class LlamaContext {
  /** Tokens that each sequence can hold. */
  readonly contextSize: number
  readonly batchSize: number
  readonly sequences: number
  private readonly batch: BatchArrays
  private busy = false
  private outputs = 0
  private spent = { promptMs: 0, promptTokens: 0, generateMs: 0, generatedTokens: 0 }
  private view: { address: Pointer; values: Float32Array } | undefined

  private constructor(
    readonly model: LlamaModel,
    private readonly handle: Handle,
    options: { contextSize: number; batchSize: number; sequences: number },
    private readonly kvTypes: readonly [keys: number, values: number],
    /** Memory in addition to the model's: KV cache, compute and output buffers. */
    readonly buffers: readonly NativeBuffer[],
    private readonly pool: ThreadPool | undefined,
    private readonly pace: ThreadPace | undefined,
  ) {
    this.contextSize = options.contextSize
    this.batchSize = options.batchSize
    this.sequences = options.sequences
    this.batch = new BatchArrays(options.batchSize)
  }

  /** Creates a context on another thread. @throws QuenchError with llama.cpp's reason, e.g. out of memory. */
  static async create(model: LlamaModel, options: ContextOptions): Promise<LlamaContext> {
    const {
      contextSize,
      sequences = 1,
      threads = threadsForModel(model.parameters),
      kvType = 'f16',
    } = options
    if (model.vocabOnly) throw new Error(`${model.path} was loaded without weights`)
    checkCount('contextSize', contextSize, 2 ** 31 / sequences)
    checkCount('sequences', sequences, MAX_SEQUENCES)
    checkCount('threads', threads, 512)
    const total = contextSize * sequences
    const batchSize = Math.min(options.batchSize ?? 2048, total)
    checkCount('batchSize', batchSize, total)
    const llama = library()
    const params = llama.contextDefaults()
    params.n_ctx = total
    params.n_seq_max = sequences
    params.n_batch = batchSize
    params.n_ubatch = Math.min(options.microBatchSize ?? 512, batchSize)
    params.n_threads = threads
    params.n_threads_batch = threads
    params.kv_unified = options.sharedCells ?? false
    params.swa_full = options.fullWindows ?? true
    params.flash_attn_type = FLASH_ATTENTION[options.flashAttention ?? 'auto']
    const [keys, values = keys] = kvType.split('/').map(ggmlTypeId)
    params.type_k = keys
    params.type_v = values
    // With no layer on the GPU nothing else is offloaded either: neither the cache nor large products.
    params.offload_kqv = model.gpuLayers !== 0
    params.op_offload = model.gpuLayers !== 0

    const divided = options.flashAttention !== 'off' && contextSize > undividedCells
    const pointer = model.handle.hold()
    const made = llama.log.during(() => callAsync(llama.contextCreate, pointer, params))
    const { result, reason, buffers } = await made.catch((error: unknown) => {
      model.handle.release()
      throw error
    })
    if (result === null) {
      model.handle.release()
      throw new QuenchError(`${model.path}: llama.cpp cannot make a context of ${total} tokens: ${reason()}`)
    }
    let pool: ThreadPool | undefined
    const free = (context: Pointer): void => {
      llama.contextFree(context)
      pool?.release()
      model.handle.release()
    }
    const handle = new Handle(result, free, `a context of ${model.path}`)
    try {
      pool = ThreadPool.acquire(threads)
      if (pool) llama.attachThreadpool(result, pool.pointer, pool.pointer)
      return new LlamaContext(
        model,
        handle,
        { contextSize, batchSize, sequences },
        [keys, values],
        buffers,
        pool,
        options.paced ? new ThreadPace(threads, divided ? params.n_ubatch : undefined) : undefined,
      )
    } catch (error) {
      handle.dispose()
      throw error
    }
  }

  /** Computes a batch of up to `batchSize` tokens on another thread and adds them to their sequences. */
  async decode(tokens: ArrayLike<number>, options: DecodeOptions = {}): Promise<void> {
    if (this.busy) throw new Error('a decode of this context is still under way')
    this.outputs = this.batch.fill(tokens, options, this.model.vocabSize, this.sequences)
    const batch = this.batch.asStruct(tokens.length, options)
    const context = this.handle.hold()
    this.busy = true
    try {
      const paced = this.pace?.threads(options.sequenceIds, tokens.length)
      if (paced !== undefined) library().setThreads(context, paced, paced)
      const compute = () => this.compute(context, batch)
      const ms = await (this.pool ? this.pool.run(compute) : compute())
      this.pace?.took(ms, tokens.length)
      this.count(tokens.length, options.sequenceIds, ms)
    } finally {
      this.busy = false
      this.handle.release()
    }
  }

  /** Milliseconds that a batch took. */
  private async compute(context: Pointer, batch: Batch): Promise<number> {
    const llama = library()
    const start = performance.now()
    const status = await callAsync(llama.decode, context, batch)
    if (status !== 0) {
      this.outputs = 0
      throw decodeError(this.model.path, status)
    }
    if (this.model.gpuLayers === 0) llama.contextSynchronize(context)
    else await callAsync(llama.contextSynchronize, context)
    return performance.now() - start
  }

  /**
   * Logits of the last decode (outputs, vocabSize), in token order. Not a copy: the memory is llama.cpp's and must not be read
   * after the next `decode` or `dispose`.
   */
  logits(): Float32Array {
    const context = this.handle.pointer
    if (this.busy) throw new Error('a decode of this context is still under way')
    if (this.outputs === 0) throw new Error('the last decode gave no logits')
    const address = library().logits(context)
    if (address === null) throw new FileError(this.model.path, 'llama.cpp gave no logits')
    const length = this.outputs * this.model.vocabSize
    if (this.view?.address !== address || this.view.values.length !== length) {
      this.view = { address, values: new Float32Array(koffi.view(address, length * 4)) }
    }
    return this.view.values
  }

  /** Removes all tokens of all sequences. */
  clear(): void {
    library().memoryClear(this.memoryHandle(), false)
  }

  /**
   * Removes the tokens of a sequence at positions `start` up to, but not including, `end`. False if the cache cannot remove a
   * part only.
   */
  removeSequence(sequence: number, start = 0, end = -1): boolean {
    return library().memoryRemove(this.memoryHandle(), this.checkSequence(sequence), start, end)
  }

  /** Gives sequence `to` all tokens of sequence `from`, so that a common prefix is computed once. */
  copySequence(from: number, to: number): void {
    library().memoryCopy(this.memoryHandle(), this.checkSequence(from), this.checkSequence(to), -1, -1)
  }

  /** Tokens that a sequence holds, counted by its last position. */
  sequenceLength(sequence: number): number {
    return library().memoryLastPosition(this.memoryHandle(), this.checkSequence(sequence)) + 1
  }

  /** Time and tokens of all decodes, measured outside libllama. */
  performance(): Performance {
    return { loadMs: this.model.loadMs, ...this.spent }
  }

  resetPerformance(): void {
    this.spent = { promptMs: 0, promptTokens: 0, generateMs: 0, generatedTokens: 0 }
  }

  /**
   * Bytes: of the model's tensors, of the whole KV cache (by the formula of ordinary attention, each sequence rounded up to
   * 256 tokens as in llama.cpp), and of the state if it were saved now.
   */
  memory(): { modelBytes: number; kvBytes: number; stateBytes: number } {
    const { model, kvTypes } = this
    const headLength = (kind: string): number =>
      Number(
        model.meta(`${model.architecture}.attention.${kind}_length`) ?? model.embeddingLength / model.heads,
      )
    const cells = Math.ceil(this.contextSize / 256) * 256 * this.sequences
    const perCell = ['key', 'value'].map((kind, i) => rowSize(kvTypes[i], model.headsKV * headLength(kind)))
    return {
      modelBytes: model.bytes,
      kvBytes: model.layers * cells * (perCell[0] + perCell[1]),
      stateBytes: library().stateSize(this.handle.pointer),
    }
  }

  private count(tokens: number, sequenceIds: ArrayLike<number> | undefined, ms: number): void {
    if (tokens === (sequenceIds ? new Set(Array.from(sequenceIds)).size : 1)) {
      this.spent.generateMs += ms
      this.spent.generatedTokens += tokens
    } else {
      this.spent.promptMs += ms
      this.spent.promptTokens += tokens
    }
  }

  private memoryHandle(): Pointer {
    if (this.busy) throw new Error('a decode of this context is still under way')
    return library().contextMemory(this.handle.pointer)
  }

  private checkSequence(sequence: number): number {
    if (Number.isInteger(sequence) && sequence >= 0 && sequence < this.sequences) return sequence
    throw new RangeError(`sequence ${sequence} is not one of ${this.sequences}`)
  }

  dispose(): void {
    this.view = undefined
    this.handle.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

function checkCount(name: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= most) return
  throw new RangeError(`${name} is ${value}, not a whole number from 1 to ${Math.floor(most)}`)
}

function decodeError(path: string, status: number): Error {
  if (status === 1) return new QuenchError(`${path}: a sequence is longer than the context has room for.`)
  if (status === -1) return new Error('llama.cpp refused the batch: positions must continue their sequence')
  return new QuenchError(`${path}: llama.cpp failed to compute a batch (status ${status}).`)
}
