/**
 * Measures the coverage of 95 % intervals on real data: files are evaluated on a text, all of its windows are taken as the
 * population, and for samples of `n` windows it is counted how often the interval contains the population mean.
 *
 *   npx tsx bench/coverage.ts REFERENCE.gguf TEXT.txt FILE.gguf...
 */
import { readFileSync } from 'node:fs'
import { type Estimate, ratio } from '../src/evaluate/statistics.js'
import { evaluateFiles } from '../src/index.js'
import { Random } from '../src/random.js'

const [reference, text, ...files] = process.argv.slice(2)
if (!reference || !text || files.length === 0)
  throw new Error('usage: npx tsx bench/coverage.ts REFERENCE.gguf TEXT.txt FILE.gguf...')
const content = readFileSync(text, 'utf8')
const evaluation = await evaluateFiles({ reference, files, text: content, context: 128, threads: 1 })
const random = new Random(1)
const draws = 4000

console.log(
  `${evaluation.windows} windows; share of ${draws} intervals that hold the mean of all, by windows drawn`,
)
for (const { type, windowSums } of evaluation.files) {
  const { tokens, nll, kld, top1 } = windowSums
  const difference = nll.map((value, w) => value - evaluation.reference.windowSums.nll[w])
  for (const [name, sums] of Object.entries({ kld, top1, 'log PPL ratio': difference, 'log PPL': nll })) {
    const truth = ratio(sums, tokens).mean
    const shares = [16, 32, 64].map((n) => {
      let held = 0
      for (let i = 0; i < draws; i++) {
        const drawn = Array.from({ length: n }, () => random.int(sums.length))
        const { interval = [0, 0] }: Estimate = ratio(
          drawn.map((w) => sums[w]),
          drawn.map((w) => tokens[w]),
        )
        if (interval[0] <= truth && truth <= interval[1]) held++
      }
      return `${n}: ${((100 * held) / draws).toFixed(1)} %`
    })
    console.log(`${type.padEnd(7)} ${name.padEnd(14)} ${shares.join('   ')}`)
  }
}
