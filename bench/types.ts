/**
 * Prints one table of every file type: plain PTQ, PTQ with an importance matrix, and QAT, by the KL divergence of the model's
 * own predictions on held-out text as libllama computes them. Each trained file is set against plain PTQ of its type, and against
 * the best PTQ file of any type that is no larger.
 *
 *   npx tsx bench/types.ts [MODEL.gguf] [--data TEXT] [--types LIST] [--train LIST] [--long LIST --time 20m] [--folder FOLDER] [--json]
 *
 * By default the model that ships, with the demo's training of every type that trains, or of those of --train. Types of --long train for --time on more text. Files in the folder are kept and reused, so an interrupted run goes on.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seconds as parseSeconds } from '../src/cli/options.js'
import { print, printError, printJson } from '../src/cli/terminal/print.js'
import { clearProgress, duration, eventLine } from '../src/cli/terminal/progress.js'
import { showTraining, warn } from '../src/cli/train/run.js'
import { makeImportance } from '../src/compare/importance.js'
import { bestOpponent } from '../src/compare/judge.js'
import { defaults } from '../src/config/defaults.js'
import { blockwise } from '../src/config/methods.js'
import { TeacherCache } from '../src/engine/teacher-cache.js'
import { QuenchError } from '../src/errors.js'
import { makeFolder } from '../src/folders.js'
import { humanCount, plusMinus, table } from '../src/format.js'
import { effectiveBits, evaluateFiles, type FileEvaluation, readTexts, recovered } from '../src/index.js'
import { needsMatrix, usesImportance } from '../src/quantize/needs-importance.js'
import { quantizedTypes } from '../src/quantize/options.js'
import { quantizeFile } from '../src/quantize/ptq.js'
import { trainableTypes } from '../src/student/source.js'
import { train } from '../src/train/train.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    data: { type: 'string', default: 'models/quench-5m.test.txt' },
    tokens: { type: 'string', default: '16384' },
    types: { type: 'string' },
    train: { type: 'string' },
    long: { type: 'string', default: '' },
    time: { type: 'string', default: '20m' },
    'long-tokens': { type: 'string', default: '393216' },
    'long-calibration': { type: 'string', default: '196608' },
    'self-written': { type: 'string', default: '0.75' },
    'train-tokens': { type: 'string', default: '32768' },
    folder: { type: 'string', default: 'quench-types' },
    json: { type: 'boolean', default: false },
  },
})
const [model = 'models/quench-5m-f16.gguf'] = positionals
const { folder } = values
const unrounded = new Set(['F32', 'F16', 'BF16', 'COPY'])
const list = (names: string): string[] => names.toUpperCase().split(',').filter(Boolean)
const types = values.types ? list(values.types) : quantizedTypes.filter((type) => !unrounded.has(type))
const trained = values.train === undefined ? trainableTypes : list(values.train)
const long = new Set(list(values.long))
const text = {
  tokens: Number(values['train-tokens']),
  selfWritten: Number(values['self-written']),
  seed: defaults.seed,
  context: defaults.context,
}

interface Made {
  readonly type: string
  readonly method: 'PTQ' | 'imatrix' | 'QAT'
  readonly path: string
  readonly seconds: number
}

makeFolder(folder)
const pathOf = (name: string): string => join(folder, `${name}.gguf`)

/** Makes a file unless the folder has it; the seconds that it took are kept beside it. */
async function once(name: string, make: (path: string) => Promise<unknown>): Promise<number> {
  const path = pathOf(name)
  if (!existsSync(path)) {
    printError(`making ${name}`)
    const start = performance.now()
    await make(path)
    clearProgress()
    writeFileSync(`${path}.json`, JSON.stringify({ seconds: (performance.now() - start) / 1000 }))
  }
  return (JSON.parse(readFileSync(`${path}.json`, 'utf8')) as { seconds: number }).seconds
}

async function makeAll(): Promise<Made[]> {
  const imatrix = pathOf('imatrix')
  await once('imatrix', (output) => makeImportance({ model, output, training: text, onWarning: warn }))
  const made: Made[] = []
  const teacher = new TeacherCache(256 << 20)
  const add = async (type: string, method: Made['method'], make: (path: string) => Promise<unknown>) => {
    const name = `${type}-${method}`
    made.push({ type, method, path: pathOf(name), seconds: await once(name, make) })
  }
  for (const type of types) {
    if (!needsMatrix(type)) await add(type, 'PTQ', (path) => quantizeFile(model, path, type))
    if (usesImportance(type))
      await add(type, 'imatrix', (path) => quantizeFile(model, path, type, { imatrix }))
    if (!trained.includes(type)) continue
    const spent = long.has(type)
      ? {
          seconds: parseSeconds(values.time),
          tokens: Number(values['long-tokens']),
          calibration: Number(values['long-calibration']),
        }
      : { method: blockwise as 'blockwise' }
    await add(type, 'QAT', (output) =>
      train({
        input: model,
        output,
        type,
        ...text,
        ...spent,
        teacher,
        onProgress: showTraining(),
        onWarning: warn,
      }),
    )
  }
  return made
}

try {
  const made = await makeAll()
  const line = eventLine('evaluating', (rate) => `${humanCount(rate)} tokens/s`)
  const { files, tokens } = await evaluateFiles({
    reference: model,
    files: made.map(({ path }) => path),
    text: await readTexts([values.data]),
    maxTokens: Number(values.tokens),
    onProgress: line,
  })
  clearProgress()
  const rows = made.map((file, i) => ({ ...file, evaluation: files[i] }))
  if (values.json)
    printJson(rows.map(({ evaluation: { windowSums: _, ...figures }, ...row }) => ({ ...row, ...figures })))
  else
    print([...tableOf(rows), `${tokens} scored tokens; KLD in nats per token ± standard error over windows`])
} catch (error) {
  if (!(error instanceof QuenchError)) throw error
  printError(error.message)
  process.exitCode = 1
}

type Row = Made & { readonly evaluation: FileEvaluation }

function tableOf(rows: readonly Row[]): string[] {
  const ptq = rows
    .filter(({ method }) => method !== 'QAT')
    .map((row) => ({ row, ...row.evaluation, kld: row.evaluation.kld.mean }))
  const loss = (row: Row | undefined): string =>
    row ? `${row.evaluation.kld.mean.toPrecision(3)} ${plusMinus(row.evaluation.kld.se, 5)}` : ''
  const percent = ({ mean, se }: { mean: number; se: number }): string =>
    `${(100 * mean).toFixed(0)} % ${plusMinus(100 * se, 1)}`
  const bodies = types.map((type) => {
    const of = (method: Made['method']) => rows.find((row) => row.type === type && row.method === method)
    const [plain, weighted, qat] = [of('PTQ'), of('imatrix'), of('QAT')]
    const any = (plain ?? weighted ?? qat) as Row
    const cells = [type, any.evaluation.bitsPerWeight.toFixed(2), loss(plain), loss(weighted), loss(qat)]
    if (!qat) return { bits: any.evaluation.bitsPerWeight, cells: [...cells, '', '', '', '', ''] }
    const best = bestOpponent(qat.evaluation.bytes, ptq)
    const equal = effectiveBits(qat.evaluation.kld.mean, ptq)
    // The smallest PTQ file that is at least as good.
    const equals = ptq
      .filter(({ kld }) => kld <= qat.evaluation.kld.mean)
      .reduce((least, { bytes }) => Math.min(least, bytes), Number.POSITIVE_INFINITY)
    const larger = equals / qat.evaluation.bytes - 1
    return {
      bits: any.evaluation.bitsPerWeight,
      cells: [
        ...cells,
        plain ? percent(recovered(qat.evaluation, plain.evaluation)) : '',
        best
          ? `${percent(recovered(qat.evaluation, best.row.evaluation))} ${best.row.type} ${best.row.method}`
          : '',
        `${{ exact: '', atLeast: '>= ', atMost: '<= ' }[equal.bound]}${equal.value.toFixed(2)}`,
        Number.isFinite(larger) ? `${(100 * larger).toFixed(0)} %` : 'all',
        duration(qat.seconds),
      ],
    }
  })
  const header = [
    ...[
      'type',
      'bits/weight',
      'PTQ',
      'PTQ + imatrix',
      'QAT',
      'recovered of PTQ',
      'of the best PTQ file no larger',
    ],
    ...['as good as, bits', 'better than all PTQ files up to this much larger', 'QAT time'],
  ]
  const sorted = bodies.sort((a, b) => a.bits - b.bits).map(({ cells }) => cells)
  return table([header, ...sorted], new Set([1, 2, 3, 4, 5, 7, 8, 9]))
}
