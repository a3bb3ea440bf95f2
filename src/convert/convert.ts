/**
 * A checkpoint as a GGUF file: the tensors renamed, reordered where llama.cpp expects it, and rounded to one type, with the
 * metadata that llama.cpp runs a model by. Written from the GGUF specification; tensors and metadata equal those of llama.cpp's
 * converter, and docs/make.md lists where they do not and why.
 */
import { join } from 'node:path'
import { Checkpoint, type Fields, filesIn, readConfig, type StoredTensor } from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import type { Format } from '../formats/index.js'
import { unrounded } from '../formats/table.js'
import { createGguf, Metadata, quote } from '../gguf/index.js'
import type { ProgressEvent } from '../notices.js'
import { checkChoice } from '../option-checks.js'
import { withOutputs } from '../outputs.js'
import type { Provenance } from '../provenance/provenance.js'
import { checkFreeSpace } from '../reserve.js'
import { Adapter } from './adapter.js'
import { type Conversion, commonMetadata, layersOf, type Source } from './architecture.js'
import { generalEntries } from './general.js'
import { ggufName, plainName } from './names.js'
import { provenanceOf } from './provenance.js'
import { Quantization } from './quantization.js'
import { Rope } from './rope.js'
import { columnsOf, cut, encoded, type Rows, storedRows } from './rows.js'
import { conversionOf } from './table.js'
import { fileTypes, typeOf } from './types.js'
import { type Entry, string, uint32 } from './values.js'
import { readVocabulary } from './vocabulary/vocabulary.js'

export interface ConvertOptions {
  /** Folder with config.json, safetensors files and a tokenizer. */
  readonly folder: string
  /** GGUF file to write. One that exists is replaced once the new file is complete. */
  readonly output: string
  /** F16, BF16 or F32. Default: the 16-bit type that the checkpoint has, else F16. */
  readonly type?: string
  /** Folder of a LoRA adapter that is added to the weights. */
  readonly adapter?: string
  /** Name of the model, e.g. `org/model`, in place of the folder's. */
  readonly name?: string
  /** Called with the bytes written so far, and of how many. */
  readonly onProgress?: (event: ProgressEvent) => void
  /** Ends the conversion; nothing is left on disk. */
  readonly signal?: AbortSignal
}

export interface ConvertResult {
  readonly path: string
  /** `general.architecture`, e.g. `llama`. */
  readonly architecture: string
  readonly type: string
  readonly bytes: number
  readonly parameters: number
  readonly tensors: number
  /** Tensors of a multimodal checkpoint that are not of its text model and were left out. */
  readonly leftOut: number
  /** Matrices that the adapter changed. */
  readonly adapted: number
  readonly seconds: number
  readonly warnings: readonly string[]
}

/** A tensor of the file. */
interface Output {
  readonly name: string
  readonly rows: Rows
  readonly format: Format
}

/**
 * Converts a checkpoint of an architecture that quench trains.
 * @throws UsageError for an unknown type; FileError that says what cannot be converted, or what is damaged
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<ConvertResult> {
  checkChoice('type', options.type, fileTypes)
  const { folder, output, adapter } = options
  const files = (of: string, by: string) => [...filesIn(of)].map((name) => ({ path: join(of, name), by }))
  const reads = files(folder, 'the checkpoint')
  if (adapter !== undefined) reads.push(...files(adapter, '--adapter'))
  return withOutputs({ writes: [{ path: output, by: 'the output' }], reads }, async () => {
    const checkpoint = await Checkpoint.open(folder)
    try {
      return await convert(checkpoint, options)
    } finally {
      await checkpoint.close()
    }
  })
}

/** A checkpoint in a few words, for messages. @throws FileError like `convertCheckpoint`, for what its configuration shows */
export async function describeCheckpoint(
  folder: string,
): Promise<{ architecture: string; className: string }> {
  const { conversion, className } = conversionOf(await readConfig(folder))
  return { architecture: conversion.name, className }
}

/** The type that a checkpoint is converted to if none is asked for. @throws FileError like `convertCheckpoint` */
export async function defaultType(folder: string): Promise<string> {
  const checkpoint = await Checkpoint.open(folder)
  try {
    const { conversion, className } = conversionOf(checkpoint.config)
    const { config } = sourceOf(checkpoint.config, conversion, className)
    return (await typeOf(checkpoint, await Quantization.of(checkpoint, config), undefined)).format.name
  } finally {
    await checkpoint.close()
  }
}

async function convert(checkpoint: Checkpoint, options: ConvertOptions): Promise<ConvertResult> {
  const start = performance.now()
  const { conversion, className } = conversionOf(checkpoint.config)
  const source = sourceOf(checkpoint.config, conversion, className)
  conversion.check?.(source)
  const quantization = await Quantization.of(checkpoint, source.config)
  const adapter = options.adapter === undefined ? undefined : await Adapter.open(options.adapter)
  try {
    const type = await typeOf(checkpoint, quantization, options.type)
    const vocabulary = await readVocabulary(checkpoint, conversion, source.config)
    const plan = new Plan(checkpoint, conversion, source, quantization, adapter, vocabulary.size, type)
    const outputs = plan.outputs()
    adapter?.checkUsed()
    const parameters = outputs.reduce((sum, { rows }) => sum + rows.shape[0] * columnsOf(rows.shape), 0)
    const metadata = new Metadata(options.output, [
      ['general.architecture', string(conversion.name)],
      ['general.type', string('model')],
      ...(await generalEntries(checkpoint, parameters, options.name)),
      ...[...commonMetadata(source), ...conversion.metadata(source)].map(
        ([key, value]): Entry => [`${conversion.name}.${key}`, value],
      ),
      ['general.file_type', uint32(type.fileType)],
      ['general.quantization_version', uint32(2)],
      ...vocabulary.entries,
    ])
    const provenance = provenanceOf(checkpoint, options.adapter, type.format.name)
    const bytes = await write(options, metadata, outputs, provenance)
    return {
      path: options.output,
      architecture: conversion.name,
      type: type.format.name,
      bytes,
      parameters,
      tensors: outputs.length,
      leftOut: plan.leftOut,
      adapted: adapter?.used ?? 0,
      seconds: (performance.now() - start) / 1000,
      warnings: vocabulary.warnings,
    }
  } finally {
    await adapter?.close()
  }
}

/** The configuration of the text model, of a multimodal checkpoint within the whole, over the defaults of its class. @throws FileError */
export function sourceOf(whole: Fields, conversion: Conversion, className: string): Source {
  const text = whole.object('text_config')
  const config = (text ?? whole).over(
    text ? { ...whole.values, ...conversion.defaults } : conversion.defaults,
  )
  if (config.has('num_local_experts') || config.has('num_experts'))
    if (Number(config.value('num_local_experts') ?? config.value('num_experts')) > 0)
      throw new FileError(config.path, 'is a mixture of experts, which quench does not convert')
  return { className, config, layers: layersOf(config), rope: new Rope(config) }
}

/** Which tensors the file gets. */
class Plan {
  leftOut = 0

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly conversion: Conversion,
    private readonly source: Source,
    private readonly quantization: Quantization,
    private readonly adapter: Adapter | undefined,
    private readonly tokens: number,
    private readonly type: { readonly format: Format },
  ) {}

  /** @throws FileError for a tensor that has no place in the file, and for one that is missing */
  outputs(): Output[] {
    const { conversion, checkpoint, source } = this
    const outputs: Output[] = []
    for (const [name, rows] of conversion.extra?.(source) ?? []) outputs.push(this.#output(name, rows))
    for (const tensor of checkpoint.tensors.values()) {
      if (this.quantization.holds(tensor.name)) continue
      const place = ggufName(tensor.name, conversion)
      if (place === undefined)
        throw new FileError(
          tensor.path,
          `the tensor ${quote(tensor.name)} has no place in a ${conversion.name} model; it would be lost`,
        )
      if (place === 'other') this.leftOut++
      if (typeof place === 'string') continue
      outputs.push(this.#output(place.name, this.#rows(place.name, tensor)))
    }
    this.#check(outputs)
    return outputs
  }

  #rows(name: string, tensor: StoredTensor): Rows {
    const { checkpoint, conversion, source } = this
    const whole = this.adapter?.replaced(plainName(tensor.name))
    const stored = whole ?? this.quantization.rows(tensor) ?? storedRows(checkpoint, tensor)
    const adapted = this.adapter?.adapt(plainName(tensor.name), stored) ?? stored
    const changed = conversion.change?.(name, adapted, source) ?? adapted
    return name === 'token_embd.weight' ? cut(changed, this.tokens) : changed
  }

  /** Vectors and norms stay in F32, since llama.cpp has no others. */
  #output(name: string, rows: Rows): Output {
    const small = rows.shape.length <= 1 || name.endsWith('_norm.weight') || !name.endsWith('.weight')
    return { name, rows, format: small ? unrounded : this.type.format }
  }

  #check(outputs: readonly Output[]): void {
    const { folder } = this.checkpoint
    const byName = new Map(outputs.map((output) => [output.name, output]))
    if (byName.size !== outputs.length)
      throw new FileError(
        folder,
        'has two tensors with the same place in the file, e.g. with and without a prefix',
      )
    const rows = byName.get('token_embd.weight')?.rows.shape[0]
    if (rows === undefined) throw new FileError(folder, 'lacks the embedding of tokens')
    if (rows !== this.tokens)
      throw new FileError(
        folder,
        `has ${rows} rows in the embedding of tokens, and 'vocab_size' is ${this.tokens}`,
      )
    if (!byName.has('output_norm.weight'))
      throw new FileError(folder, "lacks the last norm, 'model.norm.weight'")
    for (let layer = 0; layer < this.source.layers; layer++)
      if (!byName.has(`blk.${layer}.attn_norm.weight`))
        throw new FileError(folder, `lacks layer ${layer} of the ${this.source.layers} that config.json says`)
    const beyond = outputs.find(
      ({ name }) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? 0) >= this.source.layers,
    )
    if (beyond)
      throw new FileError(
        folder,
        `has more layers than the ${this.source.layers} that config.json says: ${quote(beyond.name)}`,
      )
  }
}

async function write(
  options: ConvertOptions,
  metadata: Metadata,
  outputs: readonly Output[],
  provenance: Provenance,
): Promise<number> {
  for (const [key, value] of provenance.begin().placeholders) metadata.set(key, value)
  const sizes = outputs.map(({ rows, format }) => rows.shape[0] * columnsOf(rows.shape) * format.blockBytes)
  const total = sizes.reduce((sum, size) => sum + size, 0)
  await checkFreeSpace(options.output, total)
  const writer = await createGguf(options.output, {
    metadata,
    // ggml's order: the length of a row first.
    tensors: outputs.map(({ name, rows, format }) => ({
      name,
      shape: [...rows.shape].reverse(),
      type: format.type,
    })),
    late: (data) => provenance.entries(data, options.onProgress),
  })
  try {
    let done = 0
    for (const output of outputs)
      for await (const bytes of encoded(output.rows, output.format, options.signal)) {
        await writer.write(output.name, bytes)
        done += bytes.length
        options.onProgress?.({ stage: 'convert', done, total })
      }
    options.signal?.throwIfAborted()
    await writer.finish()
    return total
  } catch (error) {
    await writer.abort()
    throw error
  } finally {
    provenance.stop()
  }
}
