/**
 * Files of `quench quantize --method search` beside llama.cpp's of the same types: KL divergence from the file that both are made of, in
 * nats a token, and the share of it that the search recovers. Without importances, and with those of another text.
 *
 *   npx tsx bench/search-files.ts [file types, or all] [MODEL-f16.gguf TEXT.txt IMPORTANCE-TEXT.txt] [tokens = 4096] [importances: no, yes or both]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { plusMinus } from '../src/format.js'
import { makeImatrix } from '../src/imatrix/make.js'
import { evaluateFiles, quantizeFile, readTexts, recovered } from '../src/index.js'
import { quantizeMethods } from '../src/quantize/methods.js'
import { searchedTypes } from '../src/quantize/options.js'

const [
  types = 'all',
  model = 'models/quench-5m-f16.gguf',
  text = 'models/quench-5m.test.txt',
  importanceText = 'models/quench-5m.validation.txt',
  tokens = '4096',
  importances = 'both',
] = process.argv.slice(2)

const folder = await mkdtemp(join(tmpdir(), 'quench-search-'))
const cell = (text: string): string => text.padStart(22)
console.log(['type'.padEnd(8), ...['llama.cpp', 'search', 'recovered'].map(cell), '  importances'].join(''))
try {
  const imatrix = join(folder, 'imatrix.gguf')
  await makeImatrix({ input: model, output: imatrix, data: [importanceText] })
  for (const type of types === 'all' ? searchedTypes : types.split(','))
    for (const settings of [
      ...(importances === 'yes' ? [] : [{}]),
      ...(importances === 'no' ? [] : [{ imatrix }]),
    ]) {
      const paths = quantizeMethods.map((method) => join(folder, `${method}.gguf`))
      for (const [i, method] of quantizeMethods.entries())
        await quantizeFile(model, paths[i], type, { ...settings, method })
      const { files } = await evaluateFiles({
        reference: model,
        files: paths,
        text: await readTexts([text]),
        maxTokens: Number(tokens),
      })
      const [reference, search] = files
      const share = recovered(search, reference)
      const cells = [
        ...files.map(({ kld }) => `${kld.mean.toFixed(5)} ${plusMinus(kld.se, 5)}`),
        `${(100 * share.mean).toFixed(1)} ${plusMinus(100 * share.se, 1)}`,
      ]
      console.log(
        [type.padEnd(8), ...cells.map(cell), ' %', 'imatrix' in settings ? '  yes' : '  no'].join(''),
      )
    }
} finally {
  await rm(folder, { recursive: true })
}
