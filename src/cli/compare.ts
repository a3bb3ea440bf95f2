/** `quench compare`: measures the quantized files of a model and recommends one, on a self-contained page. */
import { type Command, Option } from 'commander'
import type { CompareEvent, CompareOptions, Comparison } from '../compare/comparison.js'
import { defaults } from '../config/defaults.js'
import type { TrainOptions } from '../config/options.js'
import { UsageError } from '../errors.js'
import { statIfThere } from '../system-errors.js'
import { helpEnd } from './help.js'
import { localPath, localPaths, modelArgument } from './models.js'
import { bytes, cachePair, positiveInteger, seconds, typeList, wholeNumber } from './options.js'
import {
  cacheTypeOptions,
  contextOption,
  deviceOption,
  gpuLayersOption,
  group,
  jsonOption,
  lengthOptions,
  progressOption,
  threadsOption,
  valued,
} from './shared.js'
import { humanBytes, humanCount } from './terminal/format.js'
import { print, printJson, printVerbatim, printWarning, reportFailures } from './terminal/print.js'
import { clearProgress, progressLine } from './terminal/progress.js'
import { green, headed, type Line, outputColumns } from './terminal/style.js'
import { showTraining, warn } from './train/run.js'

interface Options {
  data?: string[]
  output?: string
  original?: string
  types?: string[]
  imatrix: string
  train: string[]
  steps?: number
  time?: number
  trainData?: string[]
  trainTokens?: number
  seed?: number
  device: NonNullable<TrainOptions['device']>
  tokens?: number
  context?: number
  repetitions: number
  prompt: number[]
  generate: number[]
  depth: number[]
  threads?: number
  gpuLayers: number
  cacheTypeK?: string
  cacheTypeV?: string
  memory?: number
  folder: string
  store?: string
  json?: true
  markdown?: true
  progress?: unknown
}

export function addCompare(program: Command): void {
  const command = program
    .command('compare')
    .description('make missing files, evaluate and benchmark all of them, and recommend one')
    .argument('<model>', modelArgument('full-precision GGUF file, the source and reference of all others'))
    .argument('[files...]', 'other quantized files of this model')
  group(command, 'What to make', [
    valued('--types <list>', 'PTQ types to make, or none (default: the usual ladder)', typeList),
    new Option(
      '--imatrix <file>',
      'importance matrix for PTQ types that use one: a file, "auto" (made of the text that training uses) or "none" (plain PTQ alone)',
    ).default('auto'),
    valued('--train <list>', 'QAT types to train, e.g. Q4_0,Q2_K', typeList, { value: [], shown: 'none' }),
    valued('--steps <n>', 'optimizer steps for each type (default: 300)', wholeNumber),
    valued(
      '--time <time>',
      'total time for each type instead, e.g. 10m; the result then depends on the speed of the machine',
      seconds,
    ),
    new Option(
      '--train-data <paths...>',
      'training text (default: general text, and text that the model writes)',
    ),
    valued('--train-tokens <n>', 'size of the training set in tokens', positiveInteger),
    valued('--seed <n>', 'seed of training (default: 1)', wholeNumber),
    deviceOption(),
    new Option('-f, --folder <folder>', 'folder for the generated files').default('quench-compare'),
  ])
  group(command, 'What to measure', [
    new Option(
      '-d, --data <paths...>',
      'held-out text: files, or folders of .txt, .md and .jsonl files (default: the model writes 8192 tokens)',
    ),
    new Option(
      '--original <model>',
      'the model before quantization-aware training, if the model is the checkpoint of such a training: a second reference',
    ),
    valued('--tokens <n>', 'maximum number of tokens of the text (default: all)', positiveInteger),
    contextOption('window length in tokens (default: 512)'),
    valued('-r, --repetitions <n>', 'repetitions of the speed tests; 0: none', wholeNumber, { value: 5 }),
    ...lengthOptions(),
    valued('--memory <size>', 'memory that the recommended file must fit in, e.g. 8GB', bytes),
    new Option('--store <file>', 'database of measurements (default: in the cache folder)'),
  ])
  group(command, 'Running', [threadsOption('chosen by model size'), gpuLayersOption(), ...cacheTypeOptions()])
  group(command, 'Output', [
    new Option('-o, --output <file>', 'report to write, one HTML file'),
    new Option('--markdown', 'print a table for a model card'),
    jsonOption(),
    progressOption(),
  ])
  command
    .addHelpText(
      'after',
      helpEnd(
        [
          'Measurements are stored, so an interrupted comparison continues where it stopped. Adding a file costs its own evaluation and repeats all speed tests, since speeds are only compared within one session.',
        ],
        ['quench compare model-f16.gguf --train Q4_0 --time 30m --data text.txt --memory 8GB -o report.html'],
      ),
    )
    .action(async (model: string, files: string[], options: Options) => {
      const {
        json,
        markdown,
        output,
        original,
        memory,
        steps,
        time,
        trainData,
        trainTokens,
        seed,
        device,
        ...others
      } = options
      const { cacheTypeK, cacheTypeV, progress: _, ...rest } = others
      const kvType = cachePair(cacheTypeK, cacheTypeV)
      if (time !== undefined && steps !== undefined)
        throw new UsageError('--time and --steps exclude each other; give one of them')
      if (statIfThere(rest.folder)?.isFile())
        throw new UsageError(
          `--folder ${rest.folder} is a file; the folder is for the files that are made, and text is given with --data`,
        )
      if (json && markdown) throw new UsageError('--json and --markdown exclude each other; give one of them')
      const { compare } = await import('../compare/compare.js')
      const asked = {
        model: await localPath(model, 'full-precision'),
        files: await localPaths(files, 'any'),
        ...(original !== undefined && { original: await localPath(original, 'full-precision') }),
        ...rest,
        training: {
          ...(steps !== undefined && { steps }),
          ...(time !== undefined && { seconds: time }),
          ...(trainTokens !== undefined && { tokens: trainTokens }),
          ...(trainData && { data: trainData }),
          ...(seed !== undefined && { seed }),
          ...(device !== defaults.device && { device }),
        },
        ...(memory !== undefined && { memoryBytes: memory }),
        ...(kvType !== undefined && { kvType }),
        onProgress: showComparison(!json && !markdown),
        onWarning: warn,
      }
      const comparison = output === undefined ? await compare(asked) : await reported(output, asked)
      clearProgress()
      for (const warning of comparison.warnings) printWarning(warning)
      reportFailures(comparison.failures)
      if (json) printJson(comparison)
      else if (markdown) printVerbatim(await cardOf(comparison))
      else print(await described(comparison))
      if (output !== undefined && !json && !markdown) print(['', `The report is in ${output}`])
    })
}

/** Compares and writes the report, while holding a lock on it. */
async function reported(output: string, asked: CompareOptions): Promise<Comparison> {
  const { compare, comparisonFiles } = await import('../compare/compare.js')
  const { withOutputs } = await import('../outputs.js')
  const { reads, writes } = comparisonFiles(asked)
  const others = writes.map((other) => ({ ...other, lockedLater: true }))
  return withOutputs({ reads, writes: [{ path: output, by: '--output' }, ...others] }, async () => {
    const comparison = await compare(asked)
    const { atomicWrite } = await import('../files.js')
    const { reportPage } = await import('../report/page.js')
    await atomicWrite(output, reportPage(comparison))
    return comparison
  })
}

async function cardOf(comparison: Comparison): Promise<string[]> {
  return (await import('../report/card.js')).modelCard(comparison).trimEnd().split('\n')
}

async function described(comparison: Comparison): Promise<Line[]> {
  const { comparisonText } = await import('../report/text.js')
  const lines = headed(comparisonText(comparison, outputColumns()))
  return lines.map((line) =>
    typeof line === 'string' && line.startsWith('Training pays') ? green(line) : line,
  )
}

const parts: Readonly<Record<Exclude<CompareEvent['stage'], 'train'>, string>> = {
  hash: 'hashing files',
  quantize: '  quantizing',
  text: 'the model writes text',
  importance: 'importance matrix',
  evaluate: 'evaluating, files done',
  bench: 'measuring speed',
  tensors: 'reading tensors, files done',
  write: 'writing continuations, files done',
  judge: 'comparing files',
}

/** Prints a line for each file that is made, and the progress of each part of the work. */
function showComparison(speak: boolean): (event: CompareEvent) => void {
  let part = ''
  let show: (event: CompareEvent) => void = () => {}
  return (event) => {
    const file = event.stage === 'quantize' ? event.name : event.stage === 'train' ? event.type : ''
    const now = `${event.stage} ${file}`
    if (now !== part) {
      part = now
      clearProgress()
      if (speak && event.stage === 'quantize') print([`making ${event.name}`])
      if (speak && event.stage === 'train') print([`training at ${event.type}`])
      show = progressOf(event)
    }
    show(event)
  }
}

function progressOf({ stage }: CompareEvent): (event: CompareEvent) => void {
  if (stage === 'train') {
    const training = showTraining('  ')
    return (event) => {
      if (event.stage === 'train') training(event.event)
    }
  }
  const perSecond = (rate: number): string => {
    if (stage === 'quantize') return `${humanBytes(rate)}/s`
    const inTokens = stage === 'bench' || stage === 'text' || stage === 'importance'
    return inTokens ? `${humanCount(rate)} tokens/s` : `${rate.toFixed(2)} files/s`
  }
  const line = progressLine(parts[stage], perSecond, stage)
  return ({ done, total }) => line(done, total)
}
