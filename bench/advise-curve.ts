/**
 * How well the curve of `quench advise` foretells losses of a model that it has not seen: each family of the catalogue with at
 * least three rows is left out in turn, and it is counted how many of its losses lie within the 80 % interval.
 *
 *   npx tsx bench/advise-curve.ts
 */
import { loadCatalogue } from '../src/advise/catalogue/catalogue.js'
import { fitCurve } from '../src/advise/quality/curve.js'
import { coverage, curveRows, leaveOneOut } from '../src/advise/quality/rows.js'
import { table } from '../src/format.js'

const catalogue = await loadCatalogue()
const rows = curveRows(catalogue)
const curve = fitCurve(rows)
const names = ['1', 'bits - 5', '(bits - 5)^2', 'importance matrix', 'legacy type', 'log10(weights) - 10']
console.log(`ln KLD from ${curve.rows} losses of ${curve.models} models:`)
for (const [i, name] of names.entries()) console.log(`  ${curve.coefficients[i].toFixed(3)} x ${name}`)
console.log(
  `standard deviation between models ${curve.betweenModels.toFixed(2)}, within ${curve.withinModel.toFixed(2)}\n`,
)

const left = leaveOneOut(rows)
const cells = left.map(({ model, rows: count, held, bias }) => [
  model,
  String(count),
  String(held),
  `${Math.round((100 * held) / count)} %`,
  bias.toFixed(2),
])
const heading = ['family left out', 'losses', 'in the interval', 'share', 'measured / foretold']
for (const line of table([heading, ...cells], new Set([1, 2, 3, 4]))) console.log(line)
console.log(`\naverage over ${left.length} families: ${(100 * coverage(left)).toFixed(1)} % (80 % intended)`)

const others = catalogue.losses.filter(
  ({ reference, measure, qat }) => reference !== 'original' || measure !== 'full' || qat,
)
const kinds = new Map<string, number>()
for (const { reference, measure, qat } of others) {
  const kind = qat ? `QAT, against ${reference}` : measure === 'full' ? `against ${reference}` : measure
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
}
console.log(`not on the curve: ${[...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ')}`)
