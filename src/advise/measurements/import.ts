/** Measurements of others: checked, stored under their contents, and never taken for one's own. */
import { basename } from 'node:path'
import type { Store } from '../../compare/store.js'
import { FileError } from '../../errors.js'
import { readInput } from '../../input-file.js'
import { schemaProblem } from '../catalogue/catalogue.js'
import { type MeasurementRecord, measurementSchema } from './record.js'

const kind = 'imported'
const mostBytes = 64e6

/** Reads a file of JSON lines. @param origin what the records are said to come from @throws FileError that names the line */
export async function readMeasurements(path: string, origin?: string): Promise<MeasurementRecord[]> {
  const text = (await readInput(path, mostBytes)).toString('utf8')
  const records: MeasurementRecord[] = []
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    records.push(recordOf(path, i + 1, line, origin ?? basename(path)))
  }
  if (records.length === 0)
    throw new FileError(
      path,
      'there are no measurements in it; `quench measurements export` writes such a file',
    )
  return records
}

function recordOf(path: string, line: number, text: string, origin: string): MeasurementRecord {
  const bad = (problem: string, cause?: unknown): FileError =>
    new FileError(path, `line ${line}: ${problem}; nothing was imported`, { cause })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw bad('this is no JSON', error)
  }
  const problem = schemaProblem(value, measurementSchema)
  if (problem !== undefined) throw bad(problem)
  const record = value as MeasurementRecord
  if (record.kld.se === 0 && record.kld.mean > 0) throw bad('a divergence above 0 has an error of 0')
  if (record.kld.mean === 0 && record.top1.mean < 1)
    throw bad('a divergence of 0 goes with the same tokens everywhere, and top1 is below 1')
  if (record.text.tokens < record.text.windows) throw bad('there are more windows than tokens')
  return { ...record, origin: record.origin ?? origin }
}

/** Stores records that are not there yet. @returns how many are new */
export function importMeasurements(store: Store, records: readonly MeasurementRecord[]): number {
  const fresh = new Map<string, MeasurementRecord>()
  for (const record of records) {
    const { origin: _, ...contents } = record
    if (store.get(kind, { record: contents }) === undefined) fresh.set(JSON.stringify(contents), record)
  }
  store.putAll(
    [...fresh.values()].map((record) => {
      const { origin: _, ...contents } = record
      return { kind, inputs: { record: contents }, value: record }
    }),
  )
  return fresh.size
}

/** What was imported, the oldest import first. */
export const importedMeasurements = (store: Store): MeasurementRecord[] =>
  store.list<MeasurementRecord>(kind).map(({ value }) => value)
