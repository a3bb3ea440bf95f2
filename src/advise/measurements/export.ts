/** Measurements of the store as records that can be shared. */
import { basename } from 'node:path'
import type { KeptEvaluation } from '../../compare/evaluations.js'
import type { Store } from '../../compare/store.js'
import { QuenchError } from '../../errors.js'
import { openGguf } from '../../gguf/index.js'
import { summarize } from '../../gguf/summary.js'
import { type Round, type SpeedTest, spreadOf } from '../../speed/index.js'
import { saysQat } from '../qat.js'
import { type MeasurementRecord, meanOf } from './record.js'

/** What the key of an evaluation holds (`compare/measure.ts`). */
interface EvaluationInputs {
  readonly reference: string
  readonly file: string
  readonly text: string
  readonly context: number
  readonly kvType?: string
  readonly machine?: { readonly cpu: string; readonly cores: number }
  readonly versions?: Readonly<Record<string, string>>
}

/** One's own measurements, without those that were imported, the oldest first. */
export async function ownMeasurements(store: Store): Promise<MeasurementRecord[]> {
  const methods = methodsOf(store)
  const speeds = speedsOf(store)
  const facts = new Map<string, Promise<Facts | undefined>>()
  const factsOf = (hash: string): Promise<Facts | undefined> => {
    const known = facts.get(hash) ?? readFacts(store, hash)
    facts.set(hash, known)
    return known
  }
  const records: MeasurementRecord[] = []
  for (const { inputs, value, made } of store.list<KeptEvaluation>('evaluate')) {
    const { reference, file, text, context, kvType, machine, versions } =
      inputs as unknown as EvaluationInputs
    const [own, base] = [await factsOf(file), await factsOf(reference)]
    const method = methods.get(file) ?? own?.method
    const model = base?.model ?? own?.model
    const speed = speeds.get(file)
    records.push({
      schema: 1,
      file: {
        sha256: file,
        bytes: value.file.bytes,
        type: value.file.type,
        bitsPerWeight: value.file.bitsPerWeight,
        ...(method && { method }),
        ...(own?.imatrix !== undefined && { imatrix: own.imatrix }),
      },
      ...(model && { model }),
      reference: { sha256: reference, type: value.reference.type, bytes: value.reference.bytes },
      text: { sha256: text, context, windows: value.windows, tokens: value.tokens },
      cache: kvType ?? 'f16',
      kld: meanOf(value.file.kld.mean, value.file.kld.se),
      top1: meanOf(value.file.top1.mean, value.file.top1.se),
      categories: value.file.byDocument
        .slice(0, 1000)
        .map(({ name, tokens, kld }) => ({ name, tokens, kld })),
      ...(speed && { speed }),
      machine: machine ?? { cpu: 'not recorded', cores: 1 },
      versions: versions ?? {},
      made,
    })
  }
  return records
}

/** How files were made, as far as a comparison made them. */
function methodsOf(store: Store): Map<string, 'ptq' | 'qat'> {
  const methods = new Map<string, 'ptq' | 'qat'>()
  for (const { value } of store.list<{ hash: string }>('quantize')) methods.set(value.hash, 'ptq')
  for (const { value } of store.list<{ hash: string }>('train')) methods.set(value.hash, 'qat')
  return methods
}

/** Median speeds by hash. */
function speedsOf(store: Store): Map<string, NonNullable<MeasurementRecord['speed']>> {
  const values = new Map<string, Map<string, { test: SpeedTest; speeds: number[] }>>()
  for (const { inputs, value } of store.list<Record<string, Round>>('bench')) {
    const {
      tests = [],
      gpuLayers,
      kvType,
    } = inputs as { tests?: SpeedTest[]; gpuLayers?: number; kvType?: string }
    if (gpuLayers || kvType) continue
    for (const [hash, { tokensPerSecond }] of Object.entries(value))
      for (const [i, test] of tests.entries()) {
        const ofFile = values.get(hash) ?? new Map()
        values.set(hash, ofFile)
        const key = JSON.stringify(test)
        const known = ofFile.get(key) ?? { test, speeds: [] }
        ofFile.set(key, known)
        if (tokensPerSecond[i] > 0) known.speeds.push(tokensPerSecond[i])
      }
  }
  return new Map(
    [...values].map(([hash, tests]) => [
      hash,
      [...tests.values()]
        .filter(({ speeds }) => speeds.length > 0)
        .map(({ test: { kind, tokens, depth }, speeds }) => ({
          kind,
          tokens,
          depth,
          tokensPerSecond: spreadOf(speeds).median,
        })),
    ]),
  )
}

interface Facts {
  readonly model?: NonNullable<MeasurementRecord['model']>
  readonly method?: 'qat'
  readonly imatrix?: boolean
}

/** What a header says, if the file is still where it was seen with these contents. */
async function readFacts(store: Store, hash: string): Promise<Facts | undefined> {
  for (const path of store.pathsOf(hash)) {
    try {
      const gguf = await openGguf(path)
      try {
        if ((await store.hashOf(path)) !== hash) continue
        const { metadata } = gguf
        const text = (key: string): string | undefined => {
          const found = metadata.get(key)
          return found?.type === 'string' ? found.value.slice(0, 500) : undefined
        }
        const [name, architecture] = [text('general.name'), text('general.architecture')]
        const { parameters } = await summarize(gguf)
        return {
          ...(name !== undefined &&
            architecture !== undefined && { model: { name, architecture, parameters } }),
          ...((metadata.get('quench.method') || [name ?? '', basename(path)].some(saysQat)) && {
            method: 'qat' as const,
          }),
          imatrix: metadata.get('quantize.imatrix.file') !== undefined,
        }
      } finally {
        await gguf.close()
      }
    } catch (error) {
      if (!(error instanceof QuenchError)) throw error // moved, or damaged since
    }
  }
  return undefined
}
