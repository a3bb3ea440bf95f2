/**
 * Ways to a file of one type: llama-quantize's, with an importance matrix, by the search for scales and codes, with both, by the block-wise
 * solution, and trained from there. KL divergence from the model on text that none of them saw, in nats a token, what each recovers of
 * the first's, seconds, and the peak of memory. Each is made by the command, in a process of its own.
 *
 *   npm run build && npx tsx bench/ptq.ts [MODEL-f16.gguf TEXT.txt IMPORTANCE-TEXT.txt] [TYPE,TYPE...] [--tokens N] [--calibration N] [--steps N]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { plusMinus } from '../src/format.js'
import { evaluateFiles, makeImatrix, readTexts, recovered } from '../src/index.js'
import { quench } from './quench-process.js'

const { values, positionals } = parseArgs({
  options: {
    tokens: { type: 'string', default: '8192' },
    calibration: { type: 'string', default: '8192' },
    steps: { type: 'string', default: '300' },
  },
  allowPositionals: true,
})
const [
  model = 'models/quench-5m-f16.gguf',
  text = 'models/quench-5m.test.txt',
  importanceText = 'models/quench-5m.validation.txt',
  types = 'Q4_0,Q4_K_M,NVFP4,Q3_K_M,Q2_K,Q2_0',
] = positionals
const { tokens, calibration, steps } = values

const folder = await mkdtemp(join(tmpdir(), 'quench-ptq-'))
try {
  const imatrix = join(folder, 'imatrix.gguf')
  await makeImatrix({ input: model, output: imatrix, data: [importanceText] })
  const ways: Record<string, (path: string, type: string) => string[]> = {
    stock: (path, type) => ['quantize', model, path, type],
    'with imatrix': (path, type) => ['quantize', '--imatrix', imatrix, model, path, type],
    search: (path, type) => ['quantize', '--method', 'search', model, path, type],
    'search with imatrix': (path, type) => [
      ...['quantize', '--method', 'search', '--imatrix', imatrix, model, path, type],
    ],
    solve: (path, type) => [
      ...['quantize', '--method', 'solve', '--calibration', calibration, model, path, type],
    ],
    'solve, then trained': (path, type) => [
      ...['train', model, '--type', type, '-o', path, '--calibration', calibration, '--steps', steps],
    ],
  }
  for (const type of types.split(',')) {
    const made = []
    for (const [name, args] of Object.entries(ways)) {
      const path = join(folder, `${name.replace(/\W+/g, '-')}.gguf`)
      made.push({ name, path, ...(await quench(...args(path, type))) })
    }
    const { files } = await evaluateFiles({
      ...{ reference: model, files: made.map(({ path }) => path), text: await readTexts([text]) },
      maxTokens: Number(tokens),
    })
    console.log(`\n${type}`)
    for (const [i, { name, seconds, peak }] of made.entries()) {
      const { kld } = files[i]
      const share = recovered(files[i], files[0])
      const cells = [
        name.padEnd(22),
        `${kld.mean.toFixed(5)} ${plusMinus(kld.se, 5)}`.padEnd(20),
        (i === 0 ? '' : `${(100 * share.mean).toFixed(1)} ${plusMinus(100 * share.se, 1)} %`).padEnd(16),
        `${seconds.toFixed(1)} s`.padStart(9),
        `${(peak / 1e9).toFixed(2)} GB`.padStart(10),
      ]
      console.log(cells.join(''))
    }
    for (const { path } of made) await rm(path)
  }
} finally {
  await rm(folder, { recursive: true })
}
