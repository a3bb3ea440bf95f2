/**
 * JSON Schemas of the catalogue's files. They bound every length and number, since a user may put a file into the cache that
 * takes the place of what ships.
 */
import type { Schema } from '@cfworker/json-schema'
import { closedObject as object } from '../object-schema.js'

const text = { type: 'string', minLength: 1, maxLength: 2000 } as const
const count = { type: 'integer', minimum: 1, maximum: 1e14 } as const
const few = { type: 'integer', minimum: 1, maximum: 1024 } as const
const amount = { type: 'number', exclusiveMinimum: 0, maximum: 1e6 } as const
const flag = { type: 'boolean' } as const
const texts = { type: 'array', maxItems: 100, items: text } as const
const sources = { ...texts, minItems: 1 } as const
const day = { type: 'string', pattern: '^20[0-9]{2}-[01][0-9]-[0-3][0-9]$' } as const
const repository = { type: 'string', pattern: '^[A-Za-z0-9][\\w.-]{0,95}/[A-Za-z0-9][\\w.-]{0,95}$' } as const

/** A list of such objects. */
const list = (items: Schema, maxItems = 5000): Schema => ({ type: 'array', maxItems, items })

const qatRelease = object(
  { repository, scheme: text, form: { enum: ['gguf', 'unquantized', 'other'] }, sources },
  {
    type: text,
    file: text,
    fileBytes: count,
    note: text,
    grid: text,
    embedding: text,
    parameters: count,
  },
)
const draft = object(
  { kind: text, sources },
  { repository, architecture: text, parameters: count, note: text },
)

export const familySchema = object(
  {
    id: { type: 'string', pattern: '^[a-z0-9][a-z0-9.-]{0,95}$' },
    name: text,
    line: text,
    architecture: text,
    parameters: count,
    blocks: few,
    embedding: count,
    heads: count,
    vocabulary: count,
    licence: text,
    hub: repository,
    sources,
    read: day,
  },
  {
    parametersText: count,
    parametersActive: count,
    parametersEffective: count,
    kvHeads: count,
    headSize: count,
    feedForward: count,
    feedForwardSharedBlocks: count,
    experts: count,
    expertsUsed: count,
    expertFeedForward: count,
    slidingWindow: count,
    slidingPattern: text,
    localBlocks: few,
    globalBlocks: few,
    kvHeadsGlobal: count,
    headSizeGlobal: count,
    globalKEqualsV: flag,
    sharedKvLayers: { type: 'integer', minimum: 0, maximum: 1000 },
    kvBlocks: few,
    kvBlockIndices: { type: 'array', maxItems: 1000, items: { type: 'integer', minimum: 0, maximum: 1000 } },
    perLayerInput: count,
    recurrent: text,
    context: count,
    ggufRepositories: { type: 'array', maxItems: 100, items: repository },
    qat: list(qatRelease, 100),
    drafts: list(draft, 100),
    note: text,
  },
)

const made = { schema: { const: 1 }, made: day }

export const familiesSchema = object({ ...made, families: list(familySchema) })

export const gpusSchema = object({
  ...made,
  gpus: list(
    object(
      {
        id: text,
        names: sources,
        vendor: text,
        class: text,
        memoryGB: { type: 'array', maxItems: 20, items: amount },
        generation: text,
        sources,
        read: day,
      },
      {
        bandwidthGBs: amount,
        computeCapability: text,
        fp4TensorCores: flag,
        fp16TensorTflops: amount,
        fp16Tflops: amount,
        unifiedMemory: flag,
        note: text,
      },
    ),
  ),
  cpuMemory: list(object({ type: text, channelGBs: amount, sources, read: day })),
})

const share = { type: 'number', minimum: 0, maximum: 1 } as const
const kld = { type: 'number', exclusiveMinimum: 0, maximum: 100 } as const

export const lossesSchema = object({
  ...made,
  typesSource: text,
  types: list(
    object(
      { type: text, bitsPerWeight: { type: 'number', minimum: 0.5, maximum: 32 } },
      { usual: flag, legacy: flag, needsImatrix: flag, fullPrecision: flag, fp4: flag, note: text },
    ),
  ),
  losses: list(
    object(
      {
        family: text,
        model: text,
        type: text,
        kld,
        reference: { enum: ['original', 'qat', 'q8_0', 'other'] },
        referenceNamed: text,
        text,
        measure: { enum: ['full', 'top 40'] },
        sources,
        read: day,
      },
      {
        parameters: count,
        kldError: kld,
        top1: share,
        kldByCategory: { type: 'object', additionalProperties: kld },
        bitsPerWeight: amount,
        imatrix: flag,
        qat: flag,
        trainedBy: text,
        uploader: text,
        fallback: flag,
        secondHand: flag,
        note: text,
      },
    ),
  ),
  training: list(
    object({
      by: { enum: ['quench', 'publisher'] },
      model: text,
      type: text,
      kept: { type: 'number', exclusiveMinimum: 0, maximum: 1 },
      measured: text,
      sources,
      read: day,
    }),
  ),
  cacheLosses: list(
    object(
      { model: text, keys: text, values: text, kld, text, sources, read: day },
      { family: text, top1: share, secondHand: flag },
    ),
  ),
  abilities: list(object({ family: text, model: text, measure: text, score: share, sources, read: day })),
})
