/**
 * Files of a size that was asked for, beside every type of llama-quantize, plain and with the same importance matrix: bits per weight, and
 * KL divergence on text that neither the search nor the importances have seen. Fails where a file is larger than asked for or half a
 * percent smaller, or does not lose less than every type of up to .1 bits more.
 *
 *   npx tsx bench/target-bits.ts [MODEL-f16.gguf TEXT.txt IMPORTANCE-TEXT.txt] [BITS,BITS...] [CANDIDATES] [TOKENS]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { quantizeToSize } from '../src/allocate/allocate.js'
import {
  evaluateFiles,
  type FileEvaluation,
  makeImatrix,
  quantizeFile,
  readTexts,
  recovered,
} from '../src/index.js'
import { FILE_TYPES } from '../src/llama/index.js'
import { needsMatrix, usesImportance } from '../src/quantize/needs-importance.js'
import { roundsToBlocks } from '../src/quantize/options.js'

const [
  model = 'models/quench-5m-f16.gguf',
  text = 'models/quench-5m.test.txt',
  importanceText = 'models/quench-5m.validation.txt',
  bits = '3.5,4.5,5.5',
  candidates = '64',
  tokens = '16384',
] = process.argv.slice(2)
const targets = bits.split(',').map(Number)
/** Bits per weight that a type may have more than a target. */
const tolerance = 0.1

const folder = await mkdtemp(join(tmpdir(), 'quench-bits-'))
try {
  const imatrix = join(folder, 'imatrix.gguf')
  await makeImatrix({ input: model, output: imatrix, data: [importanceText] })
  const names = new Map<string, string>()
  for (const target of targets) {
    const path = join(folder, `target-${target}.gguf`)
    const start = process.cpuUsage()
    const found = await quantizeToSize(model, path, {
      ...{ targetBits: target, imatrix, candidates: Number(candidates) },
    })
    const { user, system } = process.cpuUsage(start)
    console.log(
      `${target}: KLD on the text of the search ${found.firstKld.toFixed(5)} by estimates, ${found.kld.toFixed(5)} found; ${found.measured + found.probed} files measured in ${((user + system) / 1e6).toFixed(0)} s of processor time`,
    )
    names.set(path, `--target-bits ${target}`)
  }
  for (const type of Object.keys(FILE_TYPES).filter(roundsToBlocks)) {
    const make = async (name: string, settings: { imatrix?: string }) => {
      const path = join(folder, `${name}.gguf`)
      await quantizeFile(model, path, type, settings)
      names.set(path, name)
    }
    if (!needsMatrix(type)) await make(type, {})
    if (usesImportance(type)) await make(`${type} imatrix`, { imatrix })
  }
  const { files } = await evaluateFiles({
    ...{ reference: model, files: [...names.keys()], text: await readTexts([text]) },
    maxTokens: Number(tokens),
  })
  const nameOf = ({ path }: FileEvaluation): string => names.get(path) as string
  for (const file of files.toSorted((a, b) => a.bitsPerWeight - b.bitsPerWeight))
    console.log(
      `${nameOf(file).padEnd(20)} ${file.bitsPerWeight.toFixed(3).padStart(7)} ${file.kld.mean.toFixed(5).padStart(9)} ± ${file.kld.se.toFixed(5)}`,
    )
  for (const [i, target] of targets.entries()) {
    const own = files[i]
    const rivals = files
      .slice(targets.length)
      .filter(({ bitsPerWeight }) => bitsPerWeight <= target + tolerance)
    const best = rivals.reduce((a, b) => (b.kld.mean < a.kld.mean ? b : a))
    const share = recovered(own, best)
    const exact = own.bitsPerWeight <= target && own.bitsPerWeight >= 0.995 * target
    const better = own.kld.mean < best.kld.mean
    console.log(
      `${target}: ${own.bitsPerWeight.toFixed(4)} bits per weight${exact ? '' : ' MISSED'}; the best of ${rivals.length} types of up to ${(target + tolerance).toFixed(1)} is ${nameOf(best)}, of whose divergence ${(100 * share.mean).toFixed(1)} ± ${(100 * share.se).toFixed(1)} % is gone${better ? '' : ' WORSE'}`,
    )
    if (!exact || !better) process.exitCode = 1
  }
} finally {
  await rm(folder, { recursive: true })
}
