/** JSON Schema of `quench advise --json`. Fields are only ever added to version 1. */
import type { Schema } from '@cfworker/json-schema'
import { closedObject as object } from './object-schema.js'

const text = { type: 'string' } as const
const amount = { type: 'number', minimum: 0 } as const
const count = { type: 'integer', minimum: 0 } as const
const flag = { type: 'boolean' } as const
const texts = { type: 'array', items: text } as const

const list = (items: Schema): Schema => ({ type: 'array', items })
const lack: Schema = { enum: ['memory', 'speed'] }

const qat = object(
  { qat: flag, confidence: { enum: ['certain', 'likely', 'guess'] }, because: text },
  { trainedFor: text, suits: flag },
)

const loss = object(
  {
    kind: { enum: ['reference', 'measured file', 'measured recipe', 'published', 'fitted'] },
    expected: amount,
    interval: { type: 'array', minItems: 2, maxItems: 2, items: amount },
    basis: text,
  },
  { top1: { type: 'number', minimum: 0, maximum: 1 } },
)

const file = object(
  {
    id: text,
    source: { enum: ['file', 'repository', 'catalogue'] },
    type: text,
    bytes: count,
    bitsPerWeight: amount,
    qat,
    loss,
    memory: object(
      { ramBytes: count, vramBytes: count, gpuLayers: count },
      { cpuExpertLayers: count, cardBytes: list(count) },
    ),
    speed: object(
      {
        generate: amount,
        prompt: amount,
        interval: { type: 'array', minItems: 2, maxItems: 2, items: amount },
        basis: { enum: ['bench', 'probe', 'data sheet', 'guess'] },
      },
      { drafted: amount },
    ),
    fits: flag,
    notes: texts,
  },
  { path: text, repository: text, file: text, lacks: object({ what: lack, amount }) },
)

const model = object(
  {
    model: text,
    parameters: count,
    files: list(file),
    sentences: texts,
    commands: list(object({ what: text, command: text })),
    abilities: list(object({ measure: text, score: amount, source: text })),
    drafts: list(object({ kind: text }, { repository: text })),
  },
  {
    family: text,
    licence: text,
    pick: text,
    runnerUp: text,
    next: object({ id: text, lacks: lack, amount }),
  },
)

const device = object(
  { name: text, description: text, totalBytes: count, usableBytes: count },
  { freeBytes: count, bandwidth: amount, measured: { type: 'object', additionalProperties: amount } },
)

export const adviceSchema: Schema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'Advice of quench: which file to take',
  ...object({
    schema: { const: 1 },
    machine: object(
      {
        described: flag,
        ramBytes: count,
        ramUsableBytes: count,
        vramBytes: count,
        vramUsableBytes: count,
        unified: flag,
        devices: list(device),
        threads: count,
        instructions: texts,
      },
      { gpu: text },
    ),
    run: object(
      { context: count, parallel: count, cacheTypes: object({ keys: text, values: text }), minSpeed: amount },
      {
        draft: object({ name: text, bytes: amount, accepted: amount, guesses: count, counted: flag }),
        purpose: { enum: ['chat', 'agent', 'code', 'long-context'] },
      },
    ),
    models: list(model),
    measurements: object({ own: count, imported: count }),
    notes: texts,
    failures: list(object({ path: text, problem: text })),
  }),
}
