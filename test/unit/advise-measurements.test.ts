/** Measurements that are shared: what is exported follows the schema and is imported again; what is wrong is refused. */
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadCatalogue, schemaProblem } from '../../src/advise/catalogue/catalogue.js'
import { ownMeasurements } from '../../src/advise/measurements/export.js'
import {
  importedMeasurements,
  importMeasurements,
  readMeasurements,
} from '../../src/advise/measurements/import.js'
import { type MeasurementRecord, measurementSchema } from '../../src/advise/measurements/record.js'
import { fitCurve } from '../../src/advise/quality/curve.js'
import { lossesOf } from '../../src/advise/quality/loss.js'
import { curveRows } from '../../src/advise/quality/rows.js'
import type { LossFile } from '../../src/advise/quality/types.js'
import { Store } from '../../src/compare/store.js'

const hash = (name: string) => createHash('sha256').update(name).digest('hex')

let folder: string
let store: Store
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  store = await Store.open(join(folder, 'store.db'))
})
afterEach(async () => {
  store.close()
  await rm(folder, { recursive: true })
})

function measure(name: string, kld: number): void {
  const inputs = {
    ...{ reference: hash('F16'), file: hash(name), text: hash('text'), context: 512 },
    machine: { cpu: 'test', cores: 2 },
    versions: { quench: '0.1.0', llama: '0.5.0' },
  }
  const byDocument = [
    { name: 'code.jsonl', tokens: 1000, perplexity: 9, kld: 2 * kld },
    { name: 'prose.jsonl', tokens: 3000, perplexity: 9, kld: (2 * kld) / 3 },
  ]
  store.put('evaluate', inputs, {
    file: {
      ...{ type: name, bytes: 5e9, bitsPerWeight: 4.9, kld: { mean: kld, se: kld / 20 } },
      ...{ top1: { mean: 0.9, se: 0.01 }, byDocument },
    },
    reference: { type: 'F16', bytes: 16e9 },
    ...{ windows: 32, tokens: 4000, warnings: [] },
  })
}

async function exported(): Promise<{ path: string; records: MeasurementRecord[] }> {
  const records = await ownMeasurements(store)
  const path = join(folder, 'measurements.jsonl')
  await writeFile(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''))
  return { path, records }
}

test('an export follows the schema, and an import gives it back with its origin, once', async () => {
  measure('Q4_K_M', 0.03)
  measure('Q6_K', 0.005)
  store.put('quantize', { model: hash('F16'), type: 'Q6_K' }, { hash: hash('Q6_K') })
  store.put(
    'bench',
    { files: [hash('Q6_K')], tests: [{ kind: 'generate', tokens: 64, depth: 0 }], turn: 0 },
    { [hash('Q6_K')]: { loadMs: 1, tokensPerSecond: [25], memory: {} } },
  )
  const { path, records } = await exported()
  for (const record of records) expect(schemaProblem(record, measurementSchema)).toBeUndefined()
  expect(records.find(({ file }) => file.type === 'Q6_K')).toMatchObject({
    file: { method: 'ptq', sha256: hash('Q6_K') },
    speed: [{ kind: 'generate', tokensPerSecond: 25 }],
  })
  const other = await Store.open(join(folder, 'other.db'))
  try {
    expect(importMeasurements(other, await readMeasurements(path, 'a friend'))).toBe(2)
    expect(importMeasurements(other, await readMeasurements(path, 'somebody else'))).toBe(0)
    const imported = importedMeasurements(other)
    expect(imported.map(({ origin }) => origin)).toEqual(['a friend', 'a friend'])
    // Two measurements of one millisecond come in either order.
    const own = imported.map(({ origin: _, ...record }) => record)
    expect(own).toEqual(expect.arrayContaining(records))
    expect(await ownMeasurements(other)).toEqual([])
  } finally {
    other.close()
  }
})

describe('what is refused, with its line', () => {
  const change: readonly (readonly [string, (record: Record<string, never>) => unknown, RegExp])[] = [
    ['no JSON', () => '{', /line 2: this is no JSON/],
    ['another schema', (record) => ({ ...record, schema: 2 }), /line 2: .*schema/],
    ['no hash', (record) => ({ ...record, file: { type: 'Q4_0' } }), /line 2: .*file/],
    ['a loss below 0', (record) => ({ ...record, kld: { mean: -1 } }), /line 2: .*kld/],
    ['a loss that is a text', (record) => ({ ...record, kld: { mean: '0' } }), /line 2: .*kld/],
    ['a share above 1', (record) => ({ ...record, top1: { mean: 90 } }), /line 2: .*top1/],
    ['a perfect file with other tokens', (record) => ({ ...record, kld: { mean: 0 } }), /line 2: .*top1/],
    ['a loss without an error', (record) => ({ ...record, kld: { mean: 0.1, se: 0 } }), /error of 0/],
  ]
  test.each(change)('%s', async (_, changed, expected) => {
    measure('Q4_K_M', 0.03)
    const { path, records } = await exported()
    const bad = changed(records[0] as unknown as Record<string, never>)
    await writeFile(
      path,
      `${JSON.stringify(records[0])}\n${typeof bad === 'string' ? bad : JSON.stringify(bad)}\n`,
    )
    await expect(readMeasurements(path)).rejects.toThrow(expected)
    expect(importedMeasurements(store)).toEqual([])
  })

  test('an empty file', async () => {
    const path = join(folder, 'empty.jsonl')
    await writeFile(path, '\n')
    await expect(readMeasurements(path)).rejects.toThrow(/no measurements/)
  })
})

describe('as evidence', () => {
  const file = (type: string, more: Partial<LossFile> = {}): LossFile => ({
    ...{ id: type, sha256: hash(type), type, bitsPerWeight: 4.9, trainedHere: false },
    model: { name: 'test', architecture: 'llama', parameters: 8e9 },
    qat: { qat: false, confidence: 'likely', because: 'a test' },
    ...more,
  })
  const evidence = async () => {
    const catalogue = await loadCatalogue()
    return { catalogue, curve: fitCurve(curveRows(catalogue)) }
  }

  test("one's own measurement outweighs an imported one, whose origin is named", async () => {
    measure('Q4_K_M', 0.03)
    const own = await ownMeasurements(store)
    const others = own.map((record) => ({ ...record, kld: { mean: 0.5, se: 0.01 }, origin: 'a friend' }))
    const found = lossesOf([file('Q4_K_M')], { ...(await evidence()), own, imported: others })
    expect(found.get('Q4_K_M')).toMatchObject({ kind: 'measured file', expected: 0.03 })
    const alone = lossesOf([file('Q4_K_M')], { ...(await evidence()), own: [], imported: others })
    expect(alone.get('Q4_K_M')).toMatchObject({ expected: 0.5, basis: expect.stringContaining('a friend') })
  })

  test('the same recipe counts for the same model alone', async () => {
    measure('Q4_K_M', 0.03)
    const model = { name: 'Test It', architecture: 'llama', parameters: 8e9 }
    const own = (await ownMeasurements(store)).map((record) => ({ ...record, model }))
    const kindOf = async (name: string, parameters = 8e9) => {
      const { sha256: _, ...other } = file('Q4_K_M', { model: { ...model, name, parameters } })
      return lossesOf([other], { ...(await evidence()), own, imported: [] }).get('Q4_K_M')?.kind
    }
    expect(await kindOf('test')).toBe('measured recipe')
    expect(await kindOf('test-roleplay')).toBe('fitted')
    expect(await kindOf('test', 7e9)).toBe('fitted')
  })

  test('two trainings at one type are no recipe: neither tells of the other, nor of a rounded file', async () => {
    measure('Q4_0', 0.03)
    const model = { name: 'Test It', architecture: 'llama', parameters: 8e9 }
    const [record] = await ownMeasurements(store)
    const kindOf = async (measuredIs: 'ptq' | 'qat', qat: boolean) => {
      const own = [{ ...record, model, file: { ...record.file, method: measuredIs } }]
      const { sha256: _, ...other } = file('Q4_0', {
        model,
        qat: { qat, confidence: 'certain', because: 'a test' },
        trainedHere: qat,
      })
      return lossesOf([other], { ...(await evidence()), own, imported: [] }).get('Q4_0')?.kind
    }
    expect(await kindOf('ptq', false)).toBe('measured recipe')
    expect(await kindOf('qat', true)).not.toBe('measured recipe')
    expect(await kindOf('qat', false)).not.toBe('measured recipe')
    expect(await kindOf('ptq', true)).not.toBe('measured recipe')
  })

  test('the work chooses the kinds of text that count', async () => {
    measure('Q4_K_M', 0.03)
    const own = await ownMeasurements(store)
    const loss = async (purpose: 'code' | 'long-context' | 'chat') =>
      lossesOf([file('Q4_K_M')], { ...(await evidence()), own, imported: [], purpose }).get('Q4_K_M')
    expect((await loss('code'))?.expected).toBeCloseTo(0.06)
    expect((await loss('code'))?.basis).toContain('code')
    expect((await loss('long-context'))?.expected).toBeCloseTo(0.02)
    expect((await loss('chat'))?.expected).toBe(0.03)
  })

  test('measured files draw the estimates of the others, and full precision loses nothing', async () => {
    measure('Q6_K', 0.05) // ten times what is usual
    const own = await ownMeasurements(store)
    const all = [file('Q6_K'), file('Q4_K_M'), file('F16')]
    const alone = lossesOf(all, { ...(await evidence()), own: [], imported: [] })
    const drawn = lossesOf(all, { ...(await evidence()), own, imported: [] })
    expect(drawn.get('Q4_K_M')?.kind).toBe('fitted')
    expect(drawn.get('Q4_K_M')?.expected).toBeGreaterThan(3 * (alone.get('Q4_K_M')?.expected ?? 0))
    expect(drawn.get('F16')).toMatchObject({ kind: 'reference', expected: 0 })
  })
})
