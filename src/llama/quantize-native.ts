/**
 * `llama_model_quantize` and its dry run, in this process: a file that fails an assert of libllama ends it, so it runs in
 * `native-worker.ts`. The parameters are C structs of llama.h; lists of them end with an empty one.
 */
import koffi, { type TypeObject } from 'koffi'
import { encodeText } from '../gguf/text.js'
import { threadCount } from '../threads.js'
import { DryRunLog } from './dry-run-log.js'
import { ggmlTypeId } from './ggml.js'
import { library } from './library.js'
import { callAsync } from './native.js'
import {
  COPY,
  FILE_TYPES,
  type OverrideValue,
  type PlannedTensor,
  type QuantizeOptions,
} from './native-work.js'
import {
  type ImatrixEntry,
  ImatrixEntryStruct,
  type KvOverride,
  KvOverrideStruct,
  type Pointer,
  type TensorOverride,
  TensorOverrideStruct,
} from './structs.js'

/** GGML_TYPE_COUNT, which ends a list of tensor types. */
const typeCount = 43

/** @returns why it failed, if it did */
export async function quantizeNative(
  input: string,
  output: string,
  options: QuantizeOptions,
): Promise<string | undefined> {
  const { result, reason } = await call(input, output, options, false)
  return result === 0 ? undefined : reason()
}

/** @returns the tensors in the order in which they would be written, or why it failed */
export async function planNative(
  input: string,
  options: QuantizeOptions,
): Promise<string | readonly PlannedTensor[]> {
  const log = new DryRunLog()
  const { result, reason } = await call(input, '', options, true, (text) => log.hear(text))
  return result === 0 ? log.tensors : reason()
}

async function call(
  input: string,
  output: string,
  options: QuantizeOptions,
  dryRun: boolean,
  tell?: (text: string) => void,
) {
  const llama = library()
  const params = llama.quantizeDefaults()
  const { type, tokenEmbeddingType, outputTensorType, importance, tensorTypes, metadata, pruneLayers } =
    options
  params.only_copy = type === COPY
  params.ftype = FILE_TYPES[type] ?? 0
  params.nthread = options.threads ?? threadCount()
  if (tokenEmbeddingType) params.token_embedding_type = ggmlTypeId(tokenEmbeddingType)
  if (outputTensorType) params.output_tensor_type = ggmlTypeId(outputTensorType)
  params.quantize_output_tensor = !(options.leaveOutputTensor ?? false)
  params.pure = options.pure ?? false
  params.keep_split = options.keepSplit ?? false
  params.allow_requantize = options.allowRequantize ?? false
  params.dry_run = dryRun
  const lists: NativeList<object>[] = []
  const listed = <T extends object>(list: NativeList<T>): Pointer => {
    lists.push(list)
    return list.address
  }
  params.imatrix = importance ? listed(importanceList(importance)) : null
  params.tt_overrides = tensorTypes?.length ? listed(overrideList(tensorTypes)) : null
  params.kv_overrides = metadata?.size ? listed(metadataList(metadata)) : null
  // The library reads it while it is called, and the array lives as long as this function.
  const layers = Int32Array.of(...(pruneLayers ?? []), -1)
  params.prune_layers = pruneLayers?.length ? koffi.address(layers) : null
  try {
    return await llama.log.during(() => callAsync(llama.modelQuantize, input, output, params), tell)
  } finally {
    for (const list of lists) list.free()
  }
}

/** A C array of structs, and what they point to, which stays alive as long as this does. */
class NativeList<T extends object> {
  readonly address: Pointer
  private readonly parts: ArrayBufferView[] = []

  /** @param make is given a function that keeps what a struct points to and gives its address */
  constructor(type: TypeObject, make: (pointTo: (part: ArrayBufferView) => Pointer) => readonly T[]) {
    const structs = make((part) => {
      this.parts.push(part)
      return koffi.address(part)
    })
    this.address = koffi.alloc(type, structs.length)
    for (const [i, struct] of structs.entries())
      koffi.encode(this.address, i * koffi.sizeof(type), type, struct)
  }

  free(): void {
    koffi.free(this.address)
    this.parts.length = 0
  }
}

/** Names of a GGUF file as its bytes, whatever they are. */
const bytesOf = (text: string): Uint8Array => encodeText(text) ?? new TextEncoder().encode(text)
const cString = (text: string): Uint8Array => bytesOf(`${text}\0`)

const importanceList = (importance: ReadonlyMap<string, Float32Array>): NativeList<ImatrixEntry> =>
  new NativeList(ImatrixEntryStruct, (pointTo) => [
    ...Array.from(importance, ([name, values]) => ({
      name: pointTo(cString(name)),
      data: pointTo(values),
      size: values.length,
    })),
    { name: null, data: null, size: 0 },
  ])

const overrideList = (rules: NonNullable<QuantizeOptions['tensorTypes']>): NativeList<TensorOverride> =>
  new NativeList(TensorOverrideStruct, (pointTo) => [
    ...rules.map(({ pattern, type }) => ({ pattern: pointTo(cString(pattern)), type: ggmlTypeId(type) })),
    { pattern: null, type: typeCount },
  ])

const metadataList = (metadata: ReadonlyMap<string, OverrideValue>): NativeList<KvOverride> =>
  new NativeList(KvOverrideStruct, () => [
    ...Array.from(metadata, ([key, value]) => kvOverride(key, value)),
    kvOverride('', { type: 'bool', value: false }),
  ])

function kvOverride(key: string, { type, value }: OverrideValue): KvOverride {
  const field = (tag: KvOverride['tag'], bytes: Uint8Array): KvOverride => ({
    tag,
    key: inField(bytesOf(key)),
    value: inField(bytes),
  })
  if (type === 'string') return field(3, bytesOf(value))
  if (type === 'bool') return field(2, Uint8Array.of(Number(value)))
  if (type === 'float32') return field(1, new Uint8Array(Float64Array.of(value).buffer))
  return field(0, new Uint8Array(BigInt64Array.of(BigInt(value)).buffer))
}

/** 128 bytes, the last of them 0. */
function inField(bytes: Uint8Array): Uint8Array {
  const field = new Uint8Array(128)
  field.set(bytes.subarray(0, 127))
  return field
}
