/**
 * Measures whether a trained file is better on text of every kind: KL divergence from the model, as run by libllama, of
 * trained files against the PTQ file, the PTQ file with an importance matrix, and the IQ types next to it in size. Differences
 * are paired by window.
 *
 *   npx tsx bench/generalize.ts MODEL.gguf TYPE [TRAINED.gguf...] [options, see --help]
 *
 * Without trained files, one is trained with the defaults. A folder of texts has one JSON Lines file per kind
 * (src/data/kinds.ts). The next run reuses the files in `--folder` and their losses.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { Command } from 'commander'
import { cpu } from '../src/backends/cpu/cpu.js'
import { importanceOf } from '../src/blockwise/importance.js'
import { withCleanup } from '../src/cleanup.js'
import { positiveInteger, seconds } from '../src/cli/options.js'
import { print, printError, printJson } from '../src/cli/terminal/print.js'
import { clearProgress, eventLine, progressLine } from '../src/cli/terminal/progress.js'
import { showTraining, warn } from '../src/cli/train/run.js'
import { windowsOfKinds } from '../src/data/kinds.js'
import { spread } from '../src/data/windows.js'
import { onDevice } from '../src/engine/device-weights.js'
import { Network } from '../src/engine/network.js'
import { QuenchError } from '../src/errors.js'
import { evaluateFiles } from '../src/evaluate/index.js'
import { atomicWrite } from '../src/files.js'
import { makeFolder } from '../src/folders.js'
import { humanCount } from '../src/format.js'
import { openGguf } from '../src/gguf/index.js'
import { LlamaModel, quantizeModel } from '../src/llama/index.js'
import { memoryBudget } from '../src/memory.js'
import { openSource } from '../src/student/source.js'
import { train } from '../src/train/train.js'
import { compare, comparisonLines, type Kind, lossLines, percent } from './kind-report.js'

interface Options {
  readonly texts: string
  readonly tokens: number
  readonly calibration: string
  readonly calibrationTokens: number
  readonly time?: number
  readonly folder?: string
  readonly json?: true
}

/** Tokens per window. */
const length = 512
/** llama.cpp's types that are designed for an importance matrix, by size, with their nominal bits per weight. */
const lattices = Object.entries({
  ...{ IQ1_S: 1.56, IQ1_M: 1.75, IQ2_XXS: 2.06, IQ2_XS: 2.31, IQ2_S: 2.5, IQ2_M: 2.7 },
  ...{ IQ3_XXS: 3.06, IQ3_XS: 3.3, IQ3_S: 3.44, IQ3_M: 3.66, IQ4_XS: 4.25, IQ4_NL: 4.5 },
})

const command = new Command('generalize')
  .argument('<model>', 'full-precision GGUF file')
  .argument('<type>', 'file type, e.g. Q4_0')
  .argument('[trained...]', 'trained files of that type (default: one is trained)')
  .option('--texts <folder>', 'a .jsonl file for each kind of text to measure on', 'bench/texts')
  .option(
    '--tokens <n>',
    'tokens of each kind, of which the second half of each window counts',
    positiveInteger,
    3072,
  )
  .option('--calibration <folder>', 'the same for the importance matrix', 'texts/calibration')
  .option(
    '--calibration-tokens <n>',
    'tokens of all kinds for the importance matrix',
    positiveInteger,
    65_536,
  )
  .option('--time <time>', 'time for training, e.g. 1h', seconds)
  .option('--folder <folder>', 'keep the files that are made there (default: they are removed)')
  .option('--json', 'print one JSON document')
  .parse()
const [model, asked, ...given] = command.args
const options = command.opts<Options>()
const type = asked.toUpperCase()

await withCleanup(async (defer) => {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'quench-generalize-')))
  if (options.folder === undefined) defer(() => rm(folder, { recursive: true, force: true }))
  else makeFolder(folder)
  const { texts, calibration } = await readTexts()
  const make = await maker(folder, calibration)
  const plain = await make(type, false)
  const weighted = await make(type, true)
  const near = await neighbours(plain, (name) => make(name, true))
  const trained = given.length > 0 ? given : [await trainOne(folder)]
  const files = [
    { name: type, path: plain },
    { name: `${type} + importance`, path: weighted },
    ...near.map(({ name, path }) => ({ name: `${name} + importance`, path })),
    ...trained.map((path) => ({ name: namesake(path, trained) ? path : basename(path), path })),
  ]
  const made = files.slice(0, -trained.length).map(({ path }) => path)
  const kinds: Kind[] = []
  for (const [name, windows] of texts) kinds.push(await measure(name, windows, made, trained))
  clearProgress()
  const names = files.map(({ name }) => name)
  const opponents = names.slice(0, -trained.length)
  const comparisons = names
    .slice(opponents.length)
    .map((name, i) => ({ name, ...compare(kinds, opponents.length + i, opponents) }))
  if (options.json) printJson({ model, type, ...options, files, kinds, comparisons })
  else
    print([
      ...lossLines(model, kinds, names),
      ...comparisons.flatMap((each) => comparisonLines(type, each.name, each)),
    ])
}).catch((error: unknown) => {
  if (!(error instanceof QuenchError)) throw error
  printError(error.message)
  process.exitCode = 1
})

/** Whether another file in another folder has the same name. */
function namesake(path: string, paths: readonly string[]): boolean {
  return paths.some((other) => other !== path && basename(other) === basename(path))
}

/** Windows of the texts by kind, and those for the importance matrix. */
async function readTexts() {
  const vocabulary = await LlamaModel.load(model, { vocabOnly: true })
  try {
    const read = (folder: string) => windowsOfKinds(model, vocabulary, folder, length, warn)
    const [texts, calibration] = [await read(options.texts), await read(options.calibration)]
    const [each, ofCalibration] = [options.tokens, options.calibrationTokens / calibration.size]
    const most = (windows: Int32Array[], tokens: number) => spread(windows, Math.floor(tokens / length))
    return {
      texts: Array.from(texts, ([kind, windows]): [string, Int32Array[]] => [kind, most(windows, each)]),
      calibration: [...calibration.values()].flatMap((windows) => most(windows, ofCalibration)),
    }
  } finally {
    vocabulary.dispose()
  }
}

/** Makes a file of a type, with or without importance, unless the folder already has it. */
async function maker(folder: string, calibration: readonly Int32Array[]) {
  const hash = createHash('sha256')
  const { gguf, fingerprint } = await openSource(model)
  await gguf.close()
  hash.update(fingerprint)
  for (const window of calibration)
    hash.update(new Uint8Array(window.buffer, window.byteOffset, window.byteLength))
  const key = hash.digest('hex').slice(0, 8)
  let importance: Promise<Map<string, Float32Array>> | undefined
  return async (name: string, weighted: boolean): Promise<string> => {
    const path = join(folder, `${name}${weighted ? '-importance' : ''}-${key}.gguf`)
    if (existsSync(path)) return path
    if (weighted) importance ??= collect(calibration)
    const weights = await (weighted ? importance : undefined)
    printError(`making ${basename(path)}`)
    await quantizeModel(model, `${path}.part`, { type: name, ...(weights && { importance: weights }) })
    await rename(`${path}.part`, path)
    return path
  }
}

/** The importance matrix of the model. */
function collect(windows: readonly Int32Array[]): Promise<Map<string, Float32Array>> {
  return withCleanup(async (defer) => {
    const source = await openSource(model)
    defer(() => source.gguf.close())
    source.weights.most = memoryBudget() / 2
    const network = new Network(cpu, source.architecture, source.config, { windows: 1, length })
    defer(() => network.dispose())
    const line = progressLine('importance matrix', () => '')
    return importanceOf(network, windows, onDevice(cpu, source.weights), line)
  })
}

/** The largest file of the other types that is not larger than `plain`, and the smallest that is larger. */
async function neighbours(plain: string, make: (type: string) => Promise<string>) {
  const gguf = await openGguf(plain)
  const matrices = gguf.tensors.filter(({ name, shape }) => name.startsWith('blk.') && shape.length > 1)
  const total = (of: 'bytes' | 'elements'): number => matrices.reduce((sum, tensor) => sum + tensor[of], 0)
  const bits = (8 * total('bytes')) / total('elements')
  await gguf.close()
  const { size } = await stat(plain)
  const found = new Map<number, string>()
  let [below, above] = [-1, lattices.length]
  let i = lattices.findLastIndex(([, nominal]) => nominal <= Math.max(bits, lattices[0][1]))
  while (above - below > 1) {
    const path = await make(lattices[i][0])
    found.set(i, path)
    if ((await stat(path)).size > size) above = i--
    else below = i++
  }
  return [below, above].flatMap((i) => {
    const path = found.get(i)
    return path === undefined ? [] : [{ name: lattices[i][0], path }]
  })
}

async function trainOne(folder: string): Promise<string> {
  const output = join(folder, `${type}-trained.gguf`)
  const report = await train({
    ...{ input: model, output, type, onProgress: showTraining(), onWarning: warn },
    ...(options.time !== undefined && { seconds: options.time }),
  })
  clearProgress()
  printError(
    `training: ${report.written}, on its own validation text it recovers ${percent(report.recovered)}`,
  )
  return output
}

/** Losses on one kind of text. Those of files made here are stored next to them, for the next run. */
async function measure(
  kind: string,
  windows: readonly Int32Array[],
  made: readonly string[],
  trained: readonly string[],
): Promise<Kind> {
  const text = new Int32Array(windows.length * length)
  for (const [i, window] of windows.entries()) text.set(window, i * length)
  const hash = createHash('sha256').update(new Uint8Array(text.buffer)).digest('hex').slice(0, 8)
  const kept = (path: string): string => `${path}.${hash}.json`
  const known = made.filter((path) => existsSync(kept(path)))
  const files = [...made.filter((path) => !known.includes(path)), ...trained]
  const onProgress = eventLine(kind, (rate) => `${humanCount(rate)} tokens/s`)
  const evaluation = await evaluateFiles({ reference: model, files, text, context: length, onProgress })
  const fresh = evaluation.files.map(({ path, bytes, bitsPerWeight, kld: { mean, se }, windowSums }) => ({
    ...{ path, bytes, bitsPerWeight, kld: { mean, se }, windowSums },
  }))
  for (const file of fresh)
    if (made.includes(file.path)) await atomicWrite(kept(file.path), JSON.stringify(file))
  const old = known.map((path): (typeof fresh)[number] => ({
    ...JSON.parse(readFileSync(kept(path), 'utf8')),
    path,
  }))
  const all = [...made, ...trained].map((path) => [...fresh, ...old].find((file) => file.path === path))
  return { kind, tokens: evaluation.tokens, files: all.filter((file) => file !== undefined) }
}
