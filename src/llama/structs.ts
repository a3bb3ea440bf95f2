/**
 * The C structs of libllama that are passed by value, exactly as in llama.cpp v0.5.0 (include/llama.h).
 *
 * Their layout changes between releases and the library does not report it. Every parameter struct is therefore one table of
 * `field: [C type, default]`: the koffi type is made from the first column, and `library.ts` compares the result of
 * `llama_*_default_params()` with the second before anything else is called.
 */
import koffi, { type TypeObject } from 'koffi'

/** An address in native memory. koffi returns null for a null pointer. */
export type Pointer = bigint

type Value = number | boolean | Pointer | ArrayBufferView | null
type Table = Record<string, readonly [type: string, initial: number | boolean | null]>

/** A parameter struct as koffi reads and writes it. */
type Params<T extends Table> = Record<keyof T, Value>

const POINTER = ['void *', null] as const
const NO = ['bool', false] as const
const YES = ['bool', true] as const

export const MODEL_PARAMS = {
  devices: POINTER,
  tensor_buft_overrides: POINTER,
  n_gpu_layers: ['int32_t', -1],
  split_mode: ['int', 1],
  load_mode: ['int', -1],
  lazy_mode: ['int', 1],
  main_gpu: ['int32_t', 0],
  tensor_split: POINTER,
  progress_callback: POINTER,
  progress_callback_user_data: POINTER,
  kv_overrides: POINTER,
  vocab_only: NO,
  check_tensors: NO,
  use_extra_bufts: YES,
  no_host: NO,
  no_alloc: NO,
  load_mtp: NO,
} as const satisfies Table

export const CONTEXT_PARAMS = {
  n_ctx: ['uint32_t', 512],
  n_batch: ['uint32_t', 2048],
  n_ubatch: ['uint32_t', 512],
  n_seq_max: ['uint32_t', 1],
  n_rs_seq: ['uint32_t', 0],
  n_outputs_max: ['uint32_t', 0],
  n_outputs_max_per_seq: ['uint32_t', 1],
  n_threads: ['int32_t', 4],
  n_threads_batch: ['int32_t', 4],
  ctx_type: ['int', 0],
  rope_scaling_type: ['int', -1],
  pooling_type: ['int', -1],
  attention_type: ['int', -1],
  flash_attn_type: ['int', -1],
  rope_freq_base: ['float', 0],
  rope_freq_scale: ['float', 0],
  yarn_ext_factor: ['float', -1],
  yarn_attn_factor: ['float', -1],
  yarn_beta_fast: ['float', -1],
  yarn_beta_slow: ['float', -1],
  yarn_orig_ctx: ['uint32_t', 0],
  defrag_thold: ['float', -1],
  cb_eval: POINTER,
  cb_eval_user_data: POINTER,
  type_k: ['int', 1],
  type_v: ['int', 1],
  abort_callback: POINTER,
  abort_callback_data: POINTER,
  embeddings: NO,
  offload_kqv: YES,
  no_perf: YES,
  op_offload: YES,
  swa_full: YES,
  kv_unified: NO,
  samplers: POINTER,
  n_samplers: ['size_t', 0],
  ctx_other: POINTER,
} as const satisfies Table

export const QUANTIZE_PARAMS = {
  nthread: ['int32_t', 0],
  ftype: ['int', 7],
  output_tensor_type: ['int', 43],
  token_embedding_type: ['int', 43],
  allow_requantize: NO,
  quantize_output_tensor: YES,
  only_copy: NO,
  pure: NO,
  keep_split: NO,
  dry_run: NO,
  imatrix: POINTER,
  kv_overrides: POINTER,
  tt_overrides: POINTER,
  prune_layers: POINTER,
  max_buf_size: ['size_t', 8 * 2 ** 30],
} as const satisfies Table

export type ModelParams = Params<typeof MODEL_PARAMS>
export type ContextParams = Params<typeof CONTEXT_PARAMS>
export type QuantizeParams = Params<typeof QUANTIZE_PARAMS>

function structOf(table: Table): TypeObject {
  return koffi.struct(Object.fromEntries(Object.entries(table).map(([field, [type]]) => [field, type])))
}

export const ModelParamsStruct = structOf(MODEL_PARAMS)
export const ContextParamsStruct = structOf(CONTEXT_PARAMS)
export const QuantizeParamsStruct = structOf(QUANTIZE_PARAMS)

/** Tokens for one `llama_decode`. Null `pos` continues each sequence, null `seq_id` means sequence 0. */
export interface Batch {
  n_tokens: number
  token: Pointer
  embd: null
  pos: Pointer | null
  n_seq_id: Pointer | null
  seq_id: Pointer | null
  logits: Pointer
}
export const BatchStruct = koffi.struct({
  n_tokens: 'int32_t',
  token: 'void *',
  embd: 'void *',
  pos: 'void *',
  n_seq_id: 'void *',
  seq_id: 'void *',
  logits: 'void *',
})

/** One tensor of an importance matrix; a list of them ends with a null name. */
export interface ImatrixEntry {
  name: Pointer | null
  data: Pointer | null
  size: number
}
export const ImatrixEntryStruct = koffi.struct({ name: 'void *', data: 'void *', size: 'size_t' })

/** A type for the tensors whose names have a pattern in them; a list of them ends with a null pattern. */
export interface TensorOverride {
  pattern: Pointer | null
  type: number
}
export const TensorOverrideStruct = koffi.struct({ pattern: 'void *', type: 'int' })

/** Metadata of an output; a list of them ends with an empty key. The value is a union of 128 bytes. */
export interface KvOverride {
  /** An integer, float, bool or string (`llama_model_kv_override_type`). */
  tag: 0 | 1 | 2 | 3
  /** A C string in 128 bytes. */
  key: Uint8Array
  /** A C string in 128 bytes, or an int64, double or bool at their beginning. */
  value: Uint8Array
}
export const KvOverrideStruct = koffi.struct({
  tag: 'int',
  key: koffi.array('uint8_t', 128),
  padding: 'int',
  value: koffi.array('uint8_t', 128),
})

/** ggml's description of a tensor type. The last two are functions; `to_float` is null for F32. */
export interface TypeTraits {
  type_name: string
  blck_size: number
  blck_size_interleave: number
  type_size: number
  is_quantized: boolean
  to_float: Pointer | null
  from_float_ref: Pointer | null
}
export const TypeTraitsStruct = koffi.struct({
  type_name: 'const char *',
  blck_size: 'int64_t',
  blck_size_interleave: 'int64_t',
  type_size: 'size_t',
  is_quantized: 'bool',
  to_float: 'void *',
  from_float_ref: 'void *',
})

/** The fields, if any, in which the `actual` defaults differ from those of the pinned release. */
export function differingFields(table: Table, actual: Record<string, unknown>): string[] {
  return Object.entries(table)
    .filter(([field, [, initial]]) => actual[field] !== initial)
    .map(([field, [, initial]]) => `${field} is ${actual[field]}, not ${initial}`)
}
