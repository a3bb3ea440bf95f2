/**
 * libllama and libggml, loaded once and bound to typed functions.
 *
 * Load order: ggml-base, ggml, llama (each needs the previous ones; on Linux and macOS they find them by RPATH, on Windows
 * because they are already loaded), then the build of the CPU backend that is fastest on this machine. For a package without
 * known hashes, `ggml_backend_load_all_from_path` loads whatever it finds, including GPU backends. Before anything else is
 * called, the default parameters are compared with those of the pinned release.
 */
import koffi, { type TypeObject } from 'koffi'
import { QuenchError } from '../errors.js'
import { type Fn, Log } from './native.js'
import { findLibraries, PACKAGE_VERSION } from './package.js'
import {
  type Batch,
  BatchStruct,
  CONTEXT_PARAMS,
  type ContextParams,
  ContextParamsStruct,
  differingFields,
  MODEL_PARAMS,
  type ModelParams,
  ModelParamsStruct,
  type Pointer,
  QUANTIZE_PARAMS,
  type QuantizeParams,
  QuantizeParamsStruct,
} from './structs.js'

type Bytes = Uint8Array | Int32Array | Float32Array
type CType = string | TypeObject

/** Backend functions that are in ggml-base, not in ggml. */
const inBase = /^ggml_backend_(reg_get_proc_address|dev_(name|description|type|memory))$/

export type Library = ReturnType<typeof load>
let loaded: Library | undefined

/** The libraries; the first call loads them (about 30 ms). @throws QuenchError if they are missing or of another release. */
export function library(): Library {
  loaded ??= load()
  return loaded
}

function load() {
  const files = findLibraries()
  const base = koffi.load(files.ggmlBase)
  const ggml = koffi.load(files.ggml)
  const llama = koffi.load(files.llama)
  const fn = <A extends unknown[], R>(name: string, result: CType, parameters: CType[]): Fn<A, R> => {
    const inGgml = name.startsWith('ggml_backend') && !inBase.test(name)
    const from = inGgml ? ggml : name.startsWith('ggml_') ? base : llama
    return from.func(name, result, parameters)
  }
  const P = 'void *'
  type P = Pointer

  const logSet = fn<[P, null], void>('llama_log_set', 'void', [P, P])
  const log = new Log(logSet, llama.symbol('llama_max_devices'))

  const modelDefaults = fn<[], ModelParams>('llama_model_default_params', ModelParamsStruct, [])
  const contextDefaults = fn<[], ContextParams>('llama_context_default_params', ContextParamsStruct, [])
  const quantizeDefaults = fn<[], QuantizeParams>(
    'llama_model_quantize_default_params',
    QuantizeParamsStruct,
    [],
  )
  checkRelease('llama_model_params', differingFields(MODEL_PARAMS, modelDefaults()))
  checkRelease('llama_context_params', differingFields(CONTEXT_PARAMS, contextDefaults()))
  checkRelease('llama_model_quantize_params', differingFields(QUANTIZE_PARAMS, quantizeDefaults()))

  if (files.cpus) fn<[string], P | null>('ggml_backend_load', P, ['str'])(fastest(files.cpus, files.check))
  else fn<[string], void>('ggml_backend_load_all_from_path', 'void', ['str'])(files.folder)
  fn<[], void>('llama_backend_init', 'void', [])()

  return {
    log,
    modelDefaults,
    contextDefaults,
    quantizeDefaults,

    version: `${fn<[], string>('llama_version', 'str', [])()}, commit ${fn<[], string>('ggml_commit', 'str', [])()}`,
    modelLoad: fn<[string, ModelParams], P | null>('llama_model_load_from_file', P, [
      'str',
      ModelParamsStruct,
    ]),
    modelFree: fn<[P], void>('llama_model_free', 'void', [P]),
    modelVocab: fn<[P], P>('llama_model_get_vocab', P, [P]),
    modelLayers: fn<[P], number>('llama_model_n_layer', 'int32_t', [P]),
    modelEmbedding: fn<[P], number>('llama_model_n_embd', 'int32_t', [P]),
    modelHeads: fn<[P], number>('llama_model_n_head', 'int32_t', [P]),
    modelHeadsKV: fn<[P], number>('llama_model_n_head_kv', 'int32_t', [P]),
    modelTrainContext: fn<[P], number>('llama_model_n_ctx_train', 'int32_t', [P]),
    modelSize: fn<[P], number>('llama_model_size', 'uint64_t', [P]),
    modelParameters: fn<[P], number>('llama_model_n_params', 'uint64_t', [P]),
    modelMeta: fn<[P, string, Bytes, number], number>('llama_model_meta_val_str', 'int32_t', [
      P,
      'str',
      P,
      'size_t',
    ]),
    modelQuantize: fn<[string, string, QuantizeParams], number>('llama_model_quantize', 'uint32_t', [
      'str',
      'str',
      koffi.pointer(QuantizeParamsStruct),
    ]),

    vocabSize: fn<[P], number>('llama_vocab_n_tokens', 'int32_t', [P]),
    vocabAddBos: fn<[P], boolean>('llama_vocab_get_add_bos', 'bool', [P]),
    vocabBos: fn<[P], number>('llama_vocab_bos', 'int32_t', [P]),
    vocabEos: fn<[P], number>('llama_vocab_eos', 'int32_t', [P]),
    vocabEot: fn<[P], number>('llama_vocab_eot', 'int32_t', [P]),
    vocabAttributes: fn<[P, number], number>('llama_vocab_get_attr', 'int', [P, 'int32_t']),
    vocabIsEog: fn<[P, number], boolean>('llama_vocab_is_eog', 'bool', [P, 'int32_t']),
    tokenize: fn<[P, Bytes, number, Bytes, number, boolean, boolean], number>('llama_tokenize', 'int32_t', [
      P,
      P,
      'int32_t',
      P,
      'int32_t',
      'bool',
      'bool',
    ]),
    detokenize: fn<[P, Bytes, number, Bytes, number, boolean, boolean], number>(
      'llama_detokenize',
      'int32_t',
      [P, P, 'int32_t', P, 'int32_t', 'bool', 'bool'],
    ),
    tokenToPiece: fn<[P, number, Bytes, number, number, boolean], number>('llama_token_to_piece', 'int32_t', [
      P,
      'int32_t',
      P,
      'int32_t',
      'int32_t',
      'bool',
    ]),

    contextCreate: fn<[P, ContextParams], P | null>('llama_init_from_model', P, [P, ContextParamsStruct]),
    contextFree: fn<[P], void>('llama_free', 'void', [P]),
    contextMemory: fn<[P], P>('llama_get_memory', P, [P]),
    contextSynchronize: fn<[P], void>('llama_synchronize', 'void', [P]),
    decode: fn<[P, Batch], number>('llama_decode', 'int32_t', [P, BatchStruct]),
    logits: fn<[P], P | null>('llama_get_logits', P, [P]),
    setThreads: fn<[P, number, number], void>('llama_set_n_threads', 'void', [P, 'int32_t', 'int32_t']),
    attachThreadpool: fn<[P, P, P], void>('llama_attach_threadpool', 'void', [P, P, P]),
    stateSize: fn<[P], number>('llama_state_get_size', 'size_t', [P]),
    memoryClear: fn<[P, boolean], void>('llama_memory_clear', 'void', [P, 'bool']),
    memoryRemove: fn<[P, number, number, number], boolean>('llama_memory_seq_rm', 'bool', [
      P,
      'int32_t',
      'int32_t',
      'int32_t',
    ]),
    memoryCopy: fn<[P, number, number, number, number], void>('llama_memory_seq_cp', 'void', [
      P,
      'int32_t',
      'int32_t',
      'int32_t',
      'int32_t',
    ]),
    memoryLastPosition: fn<[P, number], number>('llama_memory_seq_pos_max', 'int32_t', [P, 'int32_t']),

    backendByName: fn<[string], P | null>('ggml_backend_reg_by_name', P, ['str']),
    backendFunction: fn<[P, string], P | null>('ggml_backend_reg_get_proc_address', P, [P, 'str']),
    threadpoolParams: fn<[Bytes, number], void>('ggml_threadpool_params_init', 'void', [P, 'int']),

    deviceCount: fn<[], number>('ggml_backend_dev_count', 'size_t', []),
    device: fn<[number], P>('ggml_backend_dev_get', P, ['size_t']),
    deviceName: fn<[P], string>('ggml_backend_dev_name', 'str', [P]),
    deviceDescription: fn<[P], string>('ggml_backend_dev_description', 'str', [P]),
    deviceType: fn<[P], number>('ggml_backend_dev_type', 'int', [P]),
    deviceMemory: fn<[P, Bytes, Bytes], void>('ggml_backend_dev_memory', 'void', [P, P, P]),

    typeTraits: fn<[number], P>('ggml_get_type_traits', P, ['int']),
    quantizeChunk: fn<[number, Bytes, Bytes, number, number, number, Bytes | null], number>(
      'ggml_quantize_chunk',
      'size_t',
      ['int', P, P, 'int64_t', 'int64_t', 'int64_t', P],
    ),
  }
}

/** Builds of the CPU backend for x64, the one with the highest score first. */
export const x64Builds: readonly string[] = [
  ...[
    'sapphirerapids',
    'zen4',
    'cooperlake',
    'icelake',
    'cascadelake',
    'cannonlake',
    'skylakex',
    'alderlake',
  ],
  ...['haswell', 'piledriver', 'ivybridge', 'sandybridge', 'sse42', 'x64'],
]

/**
 * The best build of the CPU backend for this processor, by ggml's own score. That follows from the instructions which the build needs,
 * or is 0 where the processor lacks one: in the order of scores the first build that runs is the best.
 * @param check compares a library with its hash
 */
function fastest(builds: readonly string[], check: (path: string) => void): string {
  const ordered = x64Builds.flatMap((name) => builds.find((path) => path.includes(`-cpu-${name}.`)) ?? [])
  const inOrder = ordered.length === builds.length
  let best = { path: builds[0], score: -1 }
  for (const path of inOrder ? ordered : builds) {
    check(path)
    const score = scoreOf(path)
    if (score > best.score) best = { path, score }
    if (inOrder && score > 0) break
  }
  return best.path
}

/** ggml's score of a build for this processor; 0 if it cannot run. */
export function scoreOf(path: string): number {
  const build = koffi.load(path)
  const score = build.func('ggml_backend_score', 'int', [])() as number
  build.unload()
  return score
}

/** Fails if a struct's defaults differ from the pinned release, since its layout may then differ too. */
export function checkRelease(struct: string, differences: string[]): void {
  if (differences.length === 0) return
  throw new QuenchError(
    `llama.cpp's ${struct} is not that of release ${PACKAGE_VERSION} (${differences.join('; ')}): ` +
      'reinstall quench with `npm install` so that the pinned libraries are used.',
  )
}
