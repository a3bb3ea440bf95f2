/**
 * Conversion of checkpoints whose weights lie on a grid: for each convention and each float that stores it, how many codes the stock
 * quantizer and quench change, the error that is left, and the KL divergence of both files from the checkpoint.
 *
 *   npx tsx bench/lattice.ts [MODEL-f16.gguf TEXT.txt [TOKENS]]
 *
 * The checkpoints are made of the model by test/support/lattice-conventions.ts. Embeddings and output are not on a grid, and most of
 * the divergence that is left is theirs.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { recipes } from '../src/formats/recipes.js'
import { evaluateFiles, quantizeFile } from '../src/index.js'
import { FILE_TYPES, quantizeModel } from '../src/llama/index.js'
import { conventions, differingCodes, storedAs } from '../test/support/lattice-conventions.js'
import { differingIn, writeOnGrid } from '../test/support/lattice-file.js'

const [model = 'models/quench-5m-f16.gguf', text = 'models/quench-5m.test.txt', tokens = '2048'] =
  process.argv.slice(2)
const content = await readFile(text, 'utf8')
const folder = await mkdtemp(join(tmpdir(), 'quench-lattice-'))
const [checkpoint, stock, kept] = ['checkpoint', 'stock', 'kept'].map((name) => join(folder, `${name}.gguf`))
const columns = ['stored', 'type', 'codes changed', '(stock)', 'error', 'KLD', '(stock)']
console.log(['convention'.padEnd(62), ...columns.map((name) => name.padStart(13))].join(''))
try {
  for (const convention of conventions)
    for (const as of storedAs) {
      const made = await writeOnGrid(model, checkpoint, convention, as)
      const { type } = convention
      // Where libllama has no file type, only quench's own file is made.
      const hasStock = Object.hasOwn(FILE_TYPES, type)
      if (!hasStock && !Object.hasOwn(recipes, type)) throw new Error(`no file type ${type}`)
      const { lattice } = await quantizeFile(checkpoint, kept, type)
      if (hasStock) await quantizeModel(checkpoint, stock, { type }, [stock])
      const share = async (path: string): Promise<string> => {
        const { differing, weights } = await differingIn(path, made, differingCodes)
        return differing === 0 ? '0' : `${((100 * differing) / weights).toFixed(2)} %`
      }
      const { files } = await evaluateFiles({
        reference: checkpoint,
        files: hasStock ? [kept, stock] : [kept],
        text: content,
        context: 128,
        maxTokens: Number(tokens),
      })
      const [own, other] = files.map(({ kld }) => kld.mean.toFixed(5))
      const error =
        lattice && lattice.matrices > 0 ? `${(100 * lattice.error).toFixed(3)} %` : 'no grid found'
      const cells = [
        as,
        type,
        await share(kept),
        hasStock ? await share(stock) : '-',
        error,
        own,
        other ?? '-',
      ]
      console.log([convention.name.padEnd(62), ...cells.map((cell) => cell.padStart(13))].join(''))
    }
} finally {
  await rm(folder, { recursive: true })
}
