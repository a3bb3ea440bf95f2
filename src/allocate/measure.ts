/**
 * The KL divergence of whole candidates, each a type for every tensor. A candidate is written beside the output under a temporary name,
 * run by llama.cpp beside the full-precision model, and deleted. Its figure is stored, so that nothing is measured twice and an
 * interrupted search continues where it was.
 */
import { freemem } from 'node:os'
import type { Store } from '../compare/store.js'
import type { Document } from '../data/texts.js'
import { evaluateFiles } from '../evaluate/index.js'
import { sideBySide } from '../evaluate/side-by-side.js'
import { discardTemporary, openTemporary } from '../files.js'
import { fileTypes } from '../gguf/file-types.js'
import { type Gguf, type GgufValue, ggmlTypes, Metadata } from '../gguf/index.js'
import type { Provenance } from '../provenance/provenance.js'
import { type TensorBytes, TensorConverter, writeTyped } from '../quantize/by-recipe.js'

/** What is measured: tensors alone, then whole candidates. */
export type SearchStage = 'sensitivities' | 'candidates'

/** ggml_type ids by tensor; others stay as they are. */
export type Assignment = ReadonlyMap<string, number>

export interface MeasureSettings {
  readonly gguf: Gguf
  readonly output: string
  readonly importance: ReadonlyMap<string, Float32Array>
  /** Metadata besides the input's. */
  readonly added: ReadonlyMap<string, GgufValue>
  /** What the file says of how it was made. */
  readonly provenance: Provenance
  /** Whether the best scales and codes are searched for. */
  readonly search: boolean
  readonly documents: readonly Document[] | Int32Array
  readonly maxTokens: number
  readonly context: number
  readonly threads: number | undefined
  /** What figures depend on besides the types: contents of the model, text and importance matrix, versions. */
  readonly identity: Readonly<Record<string, unknown>>
}

/** Bytes of converted tensors that are kept, since candidates differ in few of them. */
const mostKept = 256 << 20

export class Measurer {
  /** What was run, not counting what was stored. */
  readonly measured: Record<SearchStage, number> = { sensitivities: 0, candidates: 0 }
  private readonly converter: TensorConverter
  /** Converted tensors by name and type, the one that was used last at the end. */
  private readonly kept = new Map<string, Uint8Array>()
  private keptBytes = 0

  constructor(
    private readonly store: Store,
    private readonly settings: MeasureSettings,
  ) {
    this.converter = new TensorConverter(settings.gguf, settings)
  }

  /** Nats per token of each candidate. */
  async klds(candidates: readonly Assignment[], stage: SearchStage): Promise<number[]> {
    const missing = candidates.filter((types) => this.known(types) === undefined)
    while (missing.length > 0) {
      const some = missing.splice(0, this.fitting())
      await this.run(some)
      this.measured[stage] += some.length
    }
    return candidates.map((types) => this.known(types) as number)
  }

  private inputs(types: Assignment) {
    return { ...this.settings.identity, types: Object.fromEntries(types) }
  }

  private known(types: Assignment): number | undefined {
    return this.store.get<{ kld: number }>('candidate', this.inputs(types))?.kld
  }

  /** As many as fit in half of the free memory, with the copies that llama.cpp repacks, and never none. */
  private fitting(): number {
    const bytes = this.settings.gguf.tensors.reduce((sum, { bytes }) => sum + bytes, 0)
    return Math.max(1, Math.min(sideBySide, Math.floor(freemem() / 2 / (2 * bytes))))
  }

  private async run(candidates: readonly Assignment[]): Promise<void> {
    const { gguf, output, documents, context, maxTokens, threads } = this.settings
    const paths: string[] = []
    try {
      for (const types of candidates) {
        const { temporary, handle } = await openTemporary(output)
        await handle.close()
        paths.push(temporary)
        await this.write(temporary, types)
      }
      const { files } = await evaluateFiles({
        ...{ reference: gguf.path, files: paths, text: documents, context, maxTokens },
        ...(threads !== undefined && { threads }),
      })
      this.store.putAll(
        candidates.map((types, i) => ({
          kind: 'candidate',
          inputs: this.inputs(types),
          value: { kld: files[i].kld.mean },
        })),
      )
    } finally {
      for (const path of paths) await discardTemporary(path)
    }
  }

  /** Writes the file of these types, with its record. */
  finish(types: Assignment, onBytes: (bytes: number) => void): Promise<void> {
    const { output, provenance } = this.settings
    return this.write(output, types, { onBytes, late: (data) => provenance.entries(data) })
  }

  private async write(
    path: string,
    types: Assignment,
    more: Pick<TensorBytes, 'onBytes' | 'late'> = {},
  ): Promise<void> {
    const { gguf } = this.settings
    const made = (name: string) => this.bytesOf(name, types.get(name) ?? gguf.tensor(name).type)
    await writeTyped(gguf, path, this.metadata(types), types, { made, ...more })
  }

  private async bytesOf(name: string, type: number): Promise<Uint8Array> {
    const key = `${type} ${name}`
    const bytes = this.kept.get(key) ?? (await this.converter.bytes(this.settings.gguf.tensor(name), type))
    if (this.kept.delete(key)) this.keptBytes -= bytes.length
    if (bytes.length > mostKept) return bytes
    this.kept.set(key, bytes)
    this.keptBytes += bytes.length
    for (const [oldest, old] of this.kept) {
      if (this.keptBytes <= mostKept) break
      this.kept.delete(oldest)
      this.keptBytes -= old.length
    }
    return bytes
  }

  dispose(): Promise<void> {
    return this.converter.dispose()
  }

  metadata(types: Assignment): Metadata {
    const { gguf, output, added, provenance } = this.settings
    const metadata = new Metadata(output, gguf.metadata)
      .set('general.file_type', { type: 'uint32', value: fileTypeOf(gguf, types) })
      .set('general.quantization_version', { type: 'uint32', value: 2 })
    for (const [key, value] of [...added, ...provenance.placeholders]) metadata.set(key, value)
    return metadata
  }
}

/** The file type that is named after the type of most weights. */
function fileTypeOf(gguf: Gguf, types: Assignment): number {
  const weights = new Map<number, number>()
  for (const [name, type] of types) weights.set(type, (weights.get(type) ?? 0) + gguf.tensor(name).elements)
  const [[most] = [gguf.tensors[0].type]] = [...weights].sort(([, a], [, b]) => b - a)
  const name = ggmlTypes.get(most)?.name
  const named = [...fileTypes]
  const [number] = named.find(([, own]) => own === name) ??
    named.find(([, own]) => own.startsWith(`${name}_`)) ?? [0]
  return number
}
