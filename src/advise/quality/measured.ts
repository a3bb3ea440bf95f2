/** Measurements of files, or of the same recipe of the same model, on text that suits the work. */
import { modelName } from '../catalogue/names.js'
import type { MeasurementRecord } from '../measurements/record.js'
import type { Evidence, LossFile, Purpose } from './types.js'

export interface Measured {
  readonly file: LossFile
  readonly kld: number
  readonly se?: number
  readonly top1?: number
  readonly tokens: number
  readonly sameFile: boolean
  /** Undefined for one's own. */
  readonly origin?: string
  /** Kinds of text that were chosen for the work; none if all count. */
  readonly kinds: readonly string[]
  /** Measurements of one group can be compared: same reference, text and context. */
  readonly group: string
}

/** Words in the names of documents that belong to the kinds of work. */
const kindsOf: Readonly<Record<Purpose, RegExp>> = {
  chat: /conversation|chat|dialog/i,
  agent: /code|conversation|chat|tool|agent/i,
  code: /code|program/i,
  'long-context': /prose|encyclopedic|long|document/i,
}

/** Every measurement of each file; of a file and group only the best: one's own, then of the file itself, then of most tokens. */
export function measuredRows(
  files: readonly LossFile[],
  { own, imported, purpose }: Omit<Evidence, 'catalogue' | 'curve'>,
): Measured[] {
  const records = [
    ...own.map((record) => ({ record, mine: true })),
    ...imported.map((record) => ({ record, mine: false })),
  ].filter(({ record }) => record.cache === 'f16')
  return files.flatMap((file) => {
    const best = new Map<string, { row: Measured; rank: number }>()
    for (const { record, mine } of records) {
      const sameFile = file.sha256 !== undefined && record.file.sha256 === file.sha256
      if (!sameFile && !sameRecipe(file, record)) continue
      const row = rowOf(file, record, sameFile, mine, purpose)
      const rank = (mine ? 2 : 0) + (sameFile ? 1 : 0)
      const known = best.get(row.group)
      if (!known || rank > known.rank || (rank === known.rank && row.tokens > known.row.tokens))
        best.set(row.group, { row, rank })
    }
    return [...best.values()].map(({ row }) => row)
  })
}

/**
 * Whether a file must have lost what was measured. A fine-tune has the shape of its model, so the name has to be the same too; and two
 * trainings at one type are two models, however they are called.
 */
function sameRecipe(file: LossFile, { model, file: measured }: MeasurementRecord): boolean {
  if (!model || measured.type !== file.type || file.qat.qat || measured.method === 'qat') return false
  return (
    model.architecture === file.model.architecture &&
    model.parameters === file.model.parameters &&
    modelName(model.name) === modelName(file.model.name) &&
    (measured.imatrix === undefined || file.imatrix === undefined || measured.imatrix === file.imatrix)
  )
}

function rowOf(
  file: LossFile,
  record: MeasurementRecord,
  sameFile: boolean,
  mine: boolean,
  purpose: Purpose | undefined,
): Measured {
  const chosen = purpose ? record.categories.filter(({ name }) => kindsOf[purpose].test(name)) : []
  const tokens = chosen.reduce((sum, part) => sum + part.tokens, 0)
  const { reference, text, kld, top1 } = record
  const group = `${reference.sha256} ${text.sha256} ${text.context}`
  const whole = { kld: kld.mean, ...(kld.se !== undefined && { se: kld.se }), tokens: text.tokens, kinds: [] }
  const part = {
    kld: chosen.reduce((sum, each) => sum + each.tokens * each.kld, 0) / tokens,
    // The error of a part is not recorded: that of the whole, for fewer tokens.
    ...(kld.se !== undefined && { se: kld.se * Math.sqrt(text.tokens / tokens) }),
    tokens,
    kinds: [...new Set(chosen.map(({ name }) => name.replace(/^.*[\\/]|\.[a-z]+$|[:#].*$/g, '')))].slice(
      0,
      3,
    ),
  }
  return {
    file,
    ...(tokens > 0 ? part : whole),
    top1: top1.mean,
    sameFile,
    ...(!mine && { origin: record.origin ?? 'others' }),
    group,
  }
}

/** The group with most files, one's own first; of equal ones that of most tokens. */
export function bestGroup(rows: readonly Measured[]): Measured[] {
  const groups = new Map<string, Measured[]>()
  for (const row of rows) groups.set(row.group, [...(groups.get(row.group) ?? []), row])
  const size = (group: readonly Measured[]): [own: number, all: number, tokens: number] => [
    group.filter(({ origin }) => origin === undefined).length,
    group.length,
    Math.max(...group.map(({ tokens }) => tokens)),
  ]
  const [best = []] = [...groups.values()].sort((a, b) => {
    const [x, y] = [size(a), size(b)]
    return y[0] - x[0] || y[1] - x[1] || y[2] - x[2]
  })
  return best
}
