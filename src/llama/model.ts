/**
 * A GGUF model as loaded by llama.cpp: its properties and its tokenizer. `LlamaContext` runs it.
 *
 * The native model is freed once it is disposed of and has no contexts left.
 */
import { FileError } from '../errors.js'
import { library } from './library.js'
import { callAsync, Handle, type NativeBuffer } from './native.js'
import { checkLoads } from './probe.js'
import type { Pointer } from './structs.js'

/** Bits of `llama_token_attr`. */
const ATTRIBUTE = { unknown: 1, unused: 2, normal: 4, control: 8 } as const
const LOAD_NONE = 0
const LOAD_MMAP = 1

/** Options of `LlamaModel.load`. */
export interface LoadOptions {
  /** Read only metadata and tokenizer, no weights. */
  vocabOnly?: boolean
  /** Map the file into memory (default) or read it. */
  mmap?: boolean
  /** Layers to offload to a GPU; -1 is all of them. Default 0: nothing runs on a GPU. */
  gpuLayers?: number
}

export class LlamaModel {
  private readonly vocab: Pointer
  readonly vocabSize: number
  /** Width of the residual stream. */
  readonly embeddingLength: number
  readonly layers: number
  /** Attention heads, and KV heads; 0 with `vocabOnly`. */
  readonly heads: number
  readonly headsKV: number
  /** Context length, in tokens, that the model was trained with. */
  readonly trainContext: number
  /** Bytes of all tensors. */
  readonly bytes: number
  /** Weights of all tensors. */
  readonly parameters: number
  /** Whether texts should start with `bos`. */
  readonly addBos: boolean
  /** Ids of the tokens that begin a text, end a text, and end a turn, if the model has them. */
  readonly bos: number | undefined
  readonly eos: number | undefined
  readonly eot: number | undefined

  readonly vocabOnly: boolean
  readonly gpuLayers: number
  /** Load time in milliseconds. */
  readonly loadMs: number
  /** Memory of the weights. */
  readonly buffers: readonly NativeBuffer[]
  /** For `LlamaContext`. */
  readonly handle: Handle

  /** Called by `load`. @param pointer of `loadNative` */
  constructor(
    readonly path: string,
    pointer: Pointer,
    options: { vocabOnly?: boolean; gpuLayers?: number; loadMs?: number; buffers?: readonly NativeBuffer[] },
  ) {
    const { vocabOnly = false, gpuLayers = 0, loadMs = 0, buffers = [] } = options
    this.vocabOnly = vocabOnly
    this.gpuLayers = gpuLayers
    this.loadMs = loadMs
    this.buffers = buffers
    const handle = new Handle(pointer, library().modelFree, `the model ${path}`)
    this.handle = handle
    const llama = library()
    const model = handle.pointer
    const vocab = llama.modelVocab(model)
    const token = (id: number): number | undefined => (id < 0 ? undefined : id)
    this.vocab = vocab
    this.vocabSize = llama.vocabSize(vocab)
    this.embeddingLength = llama.modelEmbedding(model)
    this.layers = llama.modelLayers(model)
    // libllama aborts if asked for the heads of a model without layers.
    this.heads = vocabOnly ? 0 : llama.modelHeads(model)
    this.headsKV = vocabOnly ? 0 : llama.modelHeadsKV(model)
    this.trainContext = llama.modelTrainContext(model)
    this.bytes = Number(llama.modelSize(model))
    this.parameters = Number(llama.modelParameters(model))
    this.addBos = llama.vocabAddBos(vocab)
    this.bos = token(llama.vocabBos(vocab))
    this.eos = token(llama.vocabEos(vocab))
    this.eot = token(llama.vocabEot(vocab))
  }

  /**
   * Loads a GGUF file on another thread, after another process has tested that this does not crash.
   * @throws FileError with the reason if it cannot be loaded
   */
  static async load(path: string, options: LoadOptions = {}): Promise<LlamaModel> {
    const { vocabOnly = false, gpuLayers = 0 } = options
    await checkLoads(path, vocabOnly ? 'vocabulary' : 'run')
    const start = performance.now()
    const { result, reason, buffers } = await loadNative(path, options)
    if (result === null) throw new FileError(path, `llama.cpp cannot load it: ${reason()}`)
    return new LlamaModel(path, result, { vocabOnly, gpuLayers, loadMs: performance.now() - start, buffers })
  }

  /** A metadata value as text, e.g. `general.architecture`. Undefined if there is none or it is an array. */
  meta(key: string): string | undefined {
    const { modelMeta } = library()
    const model = this.handle.pointer
    const length = modelMeta(model, key, new Uint8Array(1), 1)
    if (length < 0) return undefined
    const text = new Uint8Array(length + 1)
    modelMeta(model, key, text, text.length)
    return Buffer.from(text.buffer, 0, length).toString()
  }

  /** E.g. `llama`, `gemma3`. */
  get architecture(): string {
    return this.meta('general.architecture') ?? 'unknown'
  }

  /** Whether a token ends a text or a turn. */
  isEog(token: number): boolean {
    return library().vocabIsEog(this.vocabulary(), this.checkToken(token))
  }

  /** Whether a token is part of ordinary text: not a control token, a byte, or a placeholder such as `<unused7>`. */
  isOrdinary(token: number): boolean {
    const attributes = library().vocabAttributes(this.vocabulary(), this.checkToken(token))
    return (attributes & ATTRIBUTE.normal) !== 0 && !this.isEog(token)
  }

  /** Tokens that no text contains, in order: unused ones, and control tokens other than those that end a text or turn. */
  neverWritten(): Int32Array {
    const { vocabAttributes } = library()
    const vocab = this.vocabulary()
    const never = ATTRIBUTE.unknown | ATTRIBUTE.unused | ATTRIBUTE.control
    const found: number[] = []
    for (let id = 0; id < this.vocabSize; id++)
      if ((vocabAttributes(vocab, id) & never) !== 0 && !this.isEog(id)) found.push(id)
    return Int32Array.from(found)
  }

  /**
   * Token ids of a text of any length.
   * @param options `addSpecial` adds the model's BOS and EOS around a text; `parseSpecial` parses the names of special tokens
   * in the text as these tokens.
   */
  tokenize(text: string, options: { addSpecial?: boolean; parseSpecial?: boolean } = {}): Int32Array {
    const { addSpecial = false, parseSpecial = false } = options
    const { tokenize } = library()
    const vocab = this.vocabulary()
    const bytes = Buffer.from(text)
    let tokens = new Int32Array(bytes.length + 8)
    let count = tokenize(vocab, bytes, bytes.length, tokens, tokens.length, addSpecial, parseSpecial)
    if (count < 0 && count > -(2 ** 31)) {
      tokens = new Int32Array(-count)
      count = tokenize(vocab, bytes, bytes.length, tokens, tokens.length, addSpecial, parseSpecial)
    }
    return this.tokenized(tokens, count, bytes.length)
  }

  /** Like `tokenize`, on another thread, for long texts. */
  async tokenizeAsync(
    text: string,
    options: { addSpecial?: boolean; parseSpecial?: boolean } = {},
  ): Promise<Int32Array> {
    const { addSpecial = false, parseSpecial = false } = options
    const { tokenize } = library()
    const vocab = this.vocabulary()
    const bytes = Buffer.from(text)
    const run = (into: Int32Array): Promise<number> =>
      callAsync(tokenize, vocab, bytes, bytes.length, into, into.length, addSpecial, parseSpecial)
    this.handle.hold()
    try {
      let tokens = new Int32Array(Math.ceil(bytes.length / 2) + 8)
      let count = await run(tokens)
      if (count < 0 && count > -(2 ** 31)) {
        tokens = new Int32Array(-count)
        count = await run(tokens)
      }
      return this.tokenized(tokens, count, bytes.length)
    } finally {
      this.handle.release()
    }
  }

  private tokenized(tokens: Int32Array, count: number, bytes: number): Int32Array {
    if (count < 0) throw new FileError(this.path, `its tokenizer failed on a text of ${bytes} bytes`)
    return tokens.slice(0, count)
  }

  /**
   * The text of token ids; bytes that are not UTF-8 become U+FFFD.
   * @param options `removeSpecial` drops the BOS and EOS that `addSpecial` adds; `special` writes special tokens by name.
   */
  detokenize(
    tokens: ArrayLike<number>,
    options: { removeSpecial?: boolean; special?: boolean } = {},
  ): string {
    const { removeSpecial = false, special = false } = options
    const { detokenize } = library()
    const vocab = this.vocabulary()
    const ids = Int32Array.from(tokens, (token) => this.checkToken(token))
    if (ids.length === 0) return ''
    let text = new Uint8Array(ids.length * 8 + 64)
    let length = detokenize(vocab, ids, ids.length, text, text.length, removeSpecial, special)
    if (length < 0) {
      text = new Uint8Array(-length)
      length = detokenize(vocab, ids, ids.length, text, text.length, removeSpecial, special)
    }
    return Buffer.from(text.buffer, 0, length).toString()
  }

  /** The bytes of a token's text; a special token has none, or its name if `special`. */
  tokenBytes(token: number, special = false): Uint8Array {
    const { tokenToPiece } = library()
    const vocab = this.vocabulary()
    let bytes = new Uint8Array(64)
    let length = tokenToPiece(vocab, this.checkToken(token), bytes, bytes.length, 0, special)
    if (length < 0) {
      bytes = new Uint8Array(-length)
      length = tokenToPiece(vocab, token, bytes, bytes.length, 0, special)
    }
    return bytes.slice(0, length)
  }

  /** libllama reads beyond its tables for an id outside the vocabulary. */
  private checkToken(token: number): number {
    if (Number.isInteger(token) && token >= 0 && token < this.vocabSize) return token
    throw new RangeError(`token ${token} is not in the vocabulary of ${this.vocabSize}`)
  }

  private vocabulary(): Pointer {
    this.handle.pointer
    return this.vocab
  }

  dispose(): void {
    this.handle.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/**
 * Loads a model in this process: a file that fails an assert of libllama ends the process.
 * @param options `weights`: whether they are read, or only their shapes and types; `repack`: whether they may be repacked in
 * memory for speed
 */
export function loadNative(path: string, options: LoadOptions & { weights?: boolean; repack?: boolean }) {
  const { vocabOnly = false, mmap = true, gpuLayers = 0, weights = true, repack = true } = options
  const llama = library()
  const params = llama.modelDefaults()
  params.vocab_only = vocabOnly
  params.load_mode = mmap && weights ? LOAD_MMAP : LOAD_NONE
  params.n_gpu_layers = gpuLayers
  params.no_alloc = !weights
  params.use_extra_bufts = repack
  return llama.log.during(() => callAsync(llama.modelLoad, path, params))
}
