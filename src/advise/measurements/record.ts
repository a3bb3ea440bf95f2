/**
 * A measurement that can be shared: one line of JSON about one file against one reference on one text. Fields are only ever
 * added to schema 1; a reader ignores those that it does not know.
 */
import type { Schema } from '@cfworker/json-schema'
import { openObject as object } from '../object-schema.js'

/** A mean over tokens with its standard error over windows, where that is known. */
interface Mean {
  readonly mean: number
  readonly se?: number
}

export interface MeasurementRecord {
  readonly schema: 1
  readonly file: {
    /** SHA-256 of the file, or of the joined hexadecimal hashes of the parts of a split one. */
    readonly sha256: string
    readonly bytes: number
    /** Recipe, e.g. `Q4_K_M`. */
    readonly type: string
    readonly bitsPerWeight: number
    /** Of what it was made: `ptq` by a quantizer, `qat` by training. Absent if not known. */
    readonly method?: 'ptq' | 'qat'
    /** Whether an importance matrix was used; absent if not known. */
    readonly imatrix?: boolean
  }
  /** The model that file and reference are of; absent where no file of it could be read any more. */
  readonly model?: {
    /** `general.name` */
    readonly name: string
    /** `general.architecture` */
    readonly architecture: string
    /** Weights. */
    readonly parameters: number
  }
  readonly reference: { readonly sha256: string; readonly type: string; readonly bytes: number }
  readonly text: {
    /** SHA-256 of the documents as JSON. */
    readonly sha256: string
    /** Tokens per window. */
    readonly context: number
    readonly windows: number
    /** Scored tokens. */
    readonly tokens: number
  }
  /** Type of the KV cache, or of keys / values. */
  readonly cache: string
  /** KL divergence from the reference, nats per token. */
  readonly kld: Mean
  /** Share of tokens on which the most probable token is the reference's. */
  readonly top1: Mean
  /** By document of the text, under the document's name. */
  readonly categories: readonly { readonly name: string; readonly tokens: number; readonly kld: number }[]
  /** Median tokens per second, where the file was benchmarked too. */
  readonly speed?: readonly {
    readonly kind: 'prompt' | 'generate'
    readonly tokens: number
    /** Tokens in the context before. */
    readonly depth: number
    readonly tokensPerSecond: number
  }[]
  readonly machine: { readonly cpu: string; readonly cores: number }
  readonly versions: Readonly<Record<string, string>>
  /** When it was measured, ISO 8601 in UTC. */
  readonly made: string
  /** Where an imported record came from. */
  readonly origin?: string
}

const text = { type: 'string', maxLength: 500 } as const
const hash = { type: 'string', pattern: '^[0-9a-f]{64}$' } as const
const count = { type: 'integer', minimum: 1, maximum: 1e15 } as const
const nats = { type: 'number', minimum: 0, maximum: 100 } as const
const share = { type: 'number', minimum: 0, maximum: 1 } as const

/** Schema of a line of `quench measurements export`. */
export const measurementSchema: Schema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'A measurement of a quantized file by quench',
  ...object(
    {
      schema: { const: 1 },
      file: object(
        {
          sha256: hash,
          bytes: count,
          type: text,
          bitsPerWeight: { type: 'number', minimum: 0, maximum: 64 },
        },
        { method: { enum: ['ptq', 'qat'] }, imatrix: { type: 'boolean' } },
      ),
      reference: object({ sha256: hash, type: text, bytes: count }),
      text: object({ sha256: hash, context: count, windows: count, tokens: count }),
      cache: text,
      kld: object({ mean: nats }, { se: nats }),
      top1: object({ mean: share }, { se: share }),
      categories: {
        type: 'array',
        maxItems: 1000,
        items: object({ name: text, tokens: count, kld: nats }),
      },
      machine: object({ cpu: text, cores: count }),
      versions: { type: 'object', maxProperties: 20, additionalProperties: text },
      made: { type: 'string', pattern: '^20\\d\\d-[01]\\d-[0-3]\\dT[0-2]\\d:[0-5]\\d:[0-5]\\d(\\.\\d+)?Z$' },
    },
    {
      model: object({ name: text, architecture: text, parameters: count }),
      speed: {
        type: 'array',
        maxItems: 100,
        items: object({
          kind: { enum: ['prompt', 'generate'] },
          tokens: count,
          depth: { type: 'integer', minimum: 0, maximum: 1e9 },
          tokensPerSecond: { type: 'number', exclusiveMinimum: 0, maximum: 1e9 },
        }),
      },
      origin: text,
    },
  ),
}

/** A mean with an error that JSON can hold: that of a single window is infinite. */
export const meanOf = (mean: number, se: number | null | undefined): Mean => ({
  mean,
  ...(typeof se === 'number' && Number.isFinite(se) && { se }),
})
