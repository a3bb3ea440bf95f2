/**
 * The expected loss of a file, from the best evidence that there is: a measurement of this file, one of the same recipe of the same
 * model, published figures of the family, or the fitted curve. Which one it is, is always said.
 */
import type { Catalogue } from '../catalogue/types.js'
import { type CurveEstimate, type CurveFile, type CurveRow, intervalOf } from './curve.js'
import { bestGroup, type Measured, measuredRows } from './measured.js'
import { curveRows, leastParameters } from './rows.js'
import type { Evidence, LossEstimate, LossFile } from './types.js'

/** Expected losses of the files of one model, all measured ones against the same reference on the same text. */
export function lossesOf(files: readonly LossFile[], evidence: Evidence): Map<string, LossEstimate> {
  const rows = measuredRows(files, evidence)
  const group = bestGroup(rows)
  const anchors = group.flatMap(({ file, kld }): CurveRow[] =>
    file.qat.qat || kld <= 0 ? [] : [{ ...curveFile(file, evidence.catalogue), model: file.model.name, kld }],
  )
  return new Map(
    files.map((file) => {
      const measured = group.find((row) => row.file === file)
      return [file.id, measured ? fromMeasured(measured) : withoutMeasurement(file, anchors, evidence)]
    }),
  )
}

function fromMeasured({ kld, se, tokens, top1, sameFile, origin, kinds }: Measured): LossEstimate {
  const half = 1.2816 * (se ?? 0.1 * kld)
  const where = origin === undefined ? 'here' : `by ${origin}`
  const text = kinds.length > 0 ? ` of ${kinds.join(' and ')}` : ''
  return {
    kind: sameFile ? 'measured file' : 'measured recipe',
    expected: kld,
    interval: [Math.max(0, kld - half), kld + half],
    basis: `measured ${where} on ${tokens.toLocaleString('en-US')} tokens${text}${sameFile ? '' : ', in a file of the same recipe'}`,
    ...(top1 !== undefined && { top1 }),
  }
}

function withoutMeasurement(file: LossFile, anchors: readonly CurveRow[], evidence: Evidence): LossEstimate {
  const { catalogue } = evidence
  if (catalogue.types.find(({ type }) => type === file.type)?.fullPrecision && !file.qat.qat)
    return {
      kind: 'reference',
      expected: 0,
      interval: [0, 0],
      basis: 'full precision is what losses are measured against',
    }
  return (
    (anchors.length === 0 ? published(file, evidence) : undefined) ??
    fitted(file, anchors.length > 0 ? anchors : familyRows(file, catalogue), evidence)
  )
}

/** Published rows of the same type of the family. */
function published(file: LossFile, { catalogue, curve }: Evidence): LossEstimate | undefined {
  const { family, qat, imatrix, type } = file
  if (!family || (qat.qat && !file.trainedHere)) return undefined
  const rows = catalogue.losses.filter(
    (loss) =>
      loss.family === family.id &&
      loss.type === type &&
      loss.reference === 'original' &&
      loss.measure === 'full' &&
      (loss.qat ?? false) === qat.qat &&
      (imatrix === undefined || loss.imatrix === undefined || loss.imatrix === imatrix),
  )
  if (rows.length === 0) return undefined
  const logs = rows.map(({ kld }) => Math.log(kld))
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length
  const spread = Math.sqrt(
    logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / Math.max(1, logs.length - 1),
  )
  const tops = rows.flatMap(({ top1 }) => (top1 === undefined ? [] : [top1]))
  const sources = [...new Set(rows.flatMap((row) => row.sources))]
  return {
    kind: 'published',
    ...spreadOut({ mean, sd: Math.max(spread, curve.withinModel), degrees: 1000 }),
    basis: `published ${rows.length === 1 ? 'figure' : `figures (${rows.length})`} of ${family.name}: ${sources.slice(0, 2).join('; ')}`,
    ...(tops.length > 0 && { top1: tops.reduce((a, b) => a + b, 0) / tops.length }),
  }
}

const familyRows = ({ family }: LossFile, catalogue: Catalogue): CurveRow[] =>
  family ? knownRows(catalogue).filter(({ model }) => model === family.id) : []

/** Rows of a catalogue, which do not change. */
const rowsOfCatalogue = new WeakMap<Catalogue, CurveRow[]>()
function knownRows(catalogue: Catalogue): CurveRow[] {
  const rows = rowsOfCatalogue.get(catalogue) ?? curveRows(catalogue)
  rowsOfCatalogue.set(catalogue, rows)
  return rows
}

function fitted(file: LossFile, anchors: readonly CurveRow[], { catalogue, curve }: Evidence): LossEstimate {
  const { qat } = file
  const drawn = anchors.length > 0 ? `, drawn towards ${anchors.length} of this one` : ''
  const small = file.model.parameters < leastParameters ? ', all of which are larger' : ''
  const base = `fitted to ${curve.rows} published losses of ${curve.models} models${small}${drawn}`
  const bits = (type: string | undefined) => catalogue.types.find((each) => each.type === type)?.bitsPerWeight
  const trained = bits(qat.trainedFor)
  const own = curveFile(file, catalogue)
  const trainedHolds = qat.qat && trained !== undefined && own.bitsPerWeight >= trained - 0.01
  if (!trainedHolds) {
    const doubt = qat.qat ? '; it is a QAT model, and not in the type that it was trained for' : ''
    return { kind: 'fitted', ...spreadOut(curve.estimate(own, anchors)), basis: `${base}${doubt}` }
  }
  const size = catalogue.types.find(({ type }) => type === qat.trainedFor)
  const plain = curve.estimate(
    { ...own, bitsPerWeight: trained, legacy: size?.legacy, imatrix: false },
    anchors,
  )
  const left = keptShare(catalogue, file.trainedHere ? 'quench' : 'publisher', qat.trainedFor)
  return {
    kind: 'fitted',
    ...spreadOut({ ...plain, mean: plain.mean + left.mean, sd: Math.hypot(plain.sd, left.sd) }),
    basis: `${base}; QAT at ${qat.trainedFor} left ${Math.round(100 * Math.exp(left.mean))} % of such a loss elsewhere`,
  }
}

const leastResults = 3

/**
 * ln of the share of PTQ's loss that QAT leaves: of results by the same hand, else of the same type, else of all, whichever are three
 * at least. The spread is that of all.
 */
export function keptShare(
  { training }: Catalogue,
  by: 'quench' | 'publisher',
  type: string | undefined,
): { mean: number; sd: number } {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length
  const logs = (results: typeof training) => results.map(({ kept }) => Math.log(kept))
  const all = logs(training)
  const nearest = [
    training.filter((result) => result.by === by),
    training.filter((result) => result.type === type),
    training,
  ].find(({ length }) => length >= leastResults)
  const center = mean(all)
  return {
    mean: mean(logs(nearest ?? training)),
    sd: Math.sqrt(all.reduce((sum, log) => sum + (log - center) ** 2, 0) / (all.length - 1)),
  }
}

function curveFile({ type, bitsPerWeight, imatrix, model }: LossFile, catalogue: Catalogue): CurveFile {
  const size = catalogue.types.find((each) => each.type === type)
  return {
    bitsPerWeight: size?.bitsPerWeight ?? bitsPerWeight,
    parameters: model.parameters,
    imatrix: imatrix ?? (size?.needsImatrix ? true : undefined),
    legacy: size?.legacy,
  }
}

/** Mean and interval of a loss whose logarithm is normal. */
function spreadOut(estimate: CurveEstimate): { expected: number; interval: [number, number] } {
  return { expected: Math.exp(estimate.mean + estimate.sd ** 2 / 2), interval: intervalOf(estimate) }
}
