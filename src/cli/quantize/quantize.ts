/** `quench quantize`: plain post-training quantization, byte-identical to llama-quantize. */
import { type Command, Option } from 'commander'
import { optionEntries } from '../../config/table.js'
import { UsageError } from '../../errors.js'
import { humanCount } from '../../format.js'
import type { KeptLattices } from '../../lattice/index.js'
import type { ProgressEvent } from '../../notices.js'
import { type QuantizeMethod, quantizeMethods } from '../../quantize/methods.js'
import type { QuantizeSettings } from '../../quantize/options.js'
import type { TensorPlan } from '../../quantize/plan.js'
import type { QuantizeFileResult } from '../../quantize/ptq.js'
import { helpEnd } from '../help.js'
import { localModel, modelArgument } from '../models.js'
import { fileType, oneMore } from '../options.js'
import { newName } from '../output-name.js'
import { positional, positionalHelp } from '../positional.js'
import { group, jsonOption, progressOption, threadsOption, valued } from '../shared.js'
import { kvOverride, layerList, type RuleOrFile, rulesOf, tensorTypeFile } from '../tensor-types.js'
import { humanBytes, plain, table } from '../terminal/format.js'
import { print, printJson, printWarning } from '../terminal/print.js'
import { clearProgress, eventLine } from '../terminal/progress.js'
import { headed } from '../terminal/style.js'
import { trainOption } from '../train/options.js'
import { describePlan } from './plan.js'
import { isSolved, solve, solveOptions, solving } from './solve.js'
import { hasTarget, quantizeToTarget, type TargetOptions, targetOptions } from './target.js'

interface QuantizeOptions extends TargetOptions, Omit<QuantizeSettings, 'tensorTypes' | 'method'> {
  method?: QuantizeMethod | typeof solving
  type?: string
  output?: string
  tensorType?: RuleOrFile[]
  dryRun?: true
  json?: true
}

export function addQuantize(program: Command): void {
  const command = program
    .command('quantize')
    .description('quantize a GGUF file as llama-quantize does (PTQ)')
    .usage(
      '[options] INPUT [OUTPUT] TYPE [THREADS]\n       quench quantize [options] --target-bits BITS INPUT [OUTPUT]',
    )
    .argument('<input>', modelArgument('full-precision GGUF file; of a split model the first part'))
    .argument('[type...]', positionalHelp)
  group(command, 'Input and output', [
    new Option('--type <type>', 'file type, e.g. Q4_K_M, Q4_0, Q8_0').argParser(fileType),
    new Option(
      '-o, --output <file>',
      'file to write; one that exists is replaced (default: INPUT-TYPE.gguf)',
    ),
    new Option('--keep-split', 'write as many parts as the input has'),
    new Option('--dry-run', 'print the type of every tensor and the exact size, and write nothing'),
  ])
  group(command, 'What becomes of the weights', [
    new Option(
      '--method <method>',
      'how they are rounded: as llama-quantize does; with the scales and codes of least error that a search finds in the same bytes; or solved matrix by matrix for what the model computes, as train does before its steps',
    )
      .choices([...quantizeMethods, solving])
      .default('reference'),
    new Option('--imatrix <file>', 'importance matrix, of quench imatrix or llama-imatrix (GGUF or .dat)'),
    new Option(
      '--include-weights <text>',
      'use the entries of the matrix in whose names this is found, and no others; may be repeated',
    ).argParser(oneMore),
    new Option(
      '--exclude-weights <text>',
      'do not use the entries of the matrix in whose names this is found; may be repeated',
    ).argParser(oneMore),
    ...optionEntries.flatMap(([, entry]) => (entry.group === 'types' ? [trainOption(entry)] : [])),
    tensorTypeFile(),
    valued('--prune-layers <layers>', 'layers to leave out, e.g. 20,21; those after them move up', layerList),
    new Option(
      '--override-kv <key=type:value>',
      'metadata of the output, e.g. general.name=str:mine (types: int, float, bool, str); may be repeated',
    ).argParser(kvOverride),
    new Option('--allow-requantize', 'accept an input that is quantized already, at a loss'),
  ])
  group(command, 'Text to solve on, or to measure candidates on', [
    new Option(
      '-d, --data <paths...>',
      'your own text (default: text of five kinds that ships with quench; to solve on, the model writes half)',
    ),
  ])
  group(command, 'The method solve', solveOptions())
  group(command, 'A size instead of a type', targetOptions())
  group(command, 'Running', [threadsOption('all'), progressOption(), jsonOption()])
  command
    .addHelpText(
      'after',
      helpEnd(
        [
          'Without a name the output lies beside the input: model-f16.gguf becomes model-Q4_K_M.gguf, and a file that exists is not replaced.',
          'With --target-size or --target-bits every tensor gets a type of its own: how much each matters is measured, then whole files are measured and improved by swaps. What was measured is kept: an interrupted search goes on where it was, and a second one is quick.',
          'COPY leaves every type as it is and makes one file of a split model. IQ1, IQ2, IQ3_XXS, IQ3_XS and Q2_K_S need --imatrix, or --method solve, which collects one.',
        ],
        [
          'quench quantize model-f16.gguf Q4_K_M',
          'quench quantize model-f16.gguf --type Q4_K_M -o model-Q4_K_M.gguf',
          'quench quantize --imatrix model.imatrix.gguf model-f16.gguf IQ2_M',
          'quench quantize --method search --imatrix model.imatrix.gguf model-f16.gguf Q2_K',
          'quench quantize --target-bits 4.25 --imatrix model.imatrix.gguf model-f16.gguf',
          'quench quantize --dry-run --tensor-type ffn_down=q6_k --output-tensor-type q8_0 model-f16.gguf Q4_K_M',
        ],
      ),
    )
    .action(async (name: string, more: string[], options: QuantizeOptions) => {
      if (hasTarget(options)) {
        const { path, beside } = await localModel(name, 'full-precision')
        return quantizeToTarget({ input: path, beside }, more, options)
      }
      const asked = positional('quantize', more, options)
      if (isSolved({ ...options })) {
        const { path: input, beside } = await localModel(name, 'full-precision')
        return solve({ name, input, beside }, asked, { ...options })
      }
      if (options.data !== undefined)
        throw new UsageError('--data needs --method solve, --target-size or --target-bits; leave it out')
      const { type, threads } = asked
      const settings = { ...(await settingsOf(options)), ...(threads !== undefined && { threads }) }
      const need = options.allowRequantize ? 'any' : 'full-precision'
      const { path: input, beside } = await localModel(name, need)
      if (options.dryRun) {
        const { planQuantization } = await import('../../quantize/plan.js')
        const plan = await planQuantization(input, type, settings)
        plan.warnings.forEach(printWarning)
        if (options.json) printJson(plan)
        else print(describePlan(plan))
        return
      }
      const output = asked.output ?? newName(beside, type)
      const { quantizeFile } = await import('../../quantize/ptq.js')
      const result = await quantizeFile(input, output, type, {
        ...settings,
        onProgress: showProgress(type),
      })
      clearProgress()
      result.warnings.forEach(printWarning)
      if (options.json) printJson(result)
      else print(describe(result))
    })
}

function showProgress(type: string): (event: ProgressEvent) => void {
  const bytes = (rate: number): string => `${humanBytes(rate)}/s`
  const lines = new Map([
    ['quantize', eventLine(`quantizing to ${type}`, bytes, 'quantize')],
    ['grid', eventLine('keeping codes', (rate) => `${humanCount(rate)} weights/s`, 'grid')],
    ['checksum', eventLine('computing checksums', bytes, 'checksum')],
  ])
  return (event) => lines.get(event.stage)?.(event)
}

async function settingsOf(options: QuantizeOptions): Promise<QuantizeSettings> {
  const { imatrix, outputTensorType, tokenEmbeddingType } = options
  return {
    allowRequantize: options.allowRequantize ?? false,
    pure: options.pure ?? false,
    leaveOutputTensor: options.leaveOutputTensor ?? false,
    keepSplit: options.keepSplit ?? false,
    tensorTypes: await rulesOf(options.tensorType),
    includeWeights: options.includeWeights ?? [],
    excludeWeights: options.excludeWeights ?? [],
    pruneLayers: options.pruneLayers ?? [],
    overrideKv: options.overrideKv ?? [],
    ...(options.method !== undefined && options.method !== solving && { method: options.method }),
    ...(imatrix !== undefined && { imatrix }),
    ...(outputTensorType !== undefined && { outputTensorType }),
    ...(tokenEmbeddingType !== undefined && { tokenEmbeddingType }),
  }
}

function describe(result: QuantizeFileResult) {
  const row = ({ path, type, bytes, bitsPerWeight }: QuantizeFileResult['input']) => [
    path,
    type,
    humanBytes(bytes),
    bitsPerWeight.toFixed(3),
  ]
  const rows = [['file', 'type', 'size', 'bits/weight'], row(result.input), row(result)]
  return [
    ...headed(table(rows, new Set([2, 3]))),
    ...(result.fallbacks ? [fallbackText(result.fallbacks)] : []),
    ...(result.lattice && result.lattice.matrices > 0 ? [keptText(result.lattice)] : []),
    `written in ${result.seconds.toFixed(1)} s`,
  ]
}

/** E.g. `18 tensors fell back to other types, as blk.0.attn_k.weight to Q5_0, since blocks of Q4_K do not divide its rows of 640`. */
function fallbackText(fallbacks: readonly TensorPlan[]): string {
  const [{ name, to, fallbackOf, shape }] = fallbacks
  const fell =
    fallbacks.length === 1
      ? '1 tensor fell back to another type:'
      : `${fallbacks.length} tensors fell back to other types, such as`
  return `${fell} ${plain(name)} to ${to}, since blocks of ${fallbackOf} do not divide its rows of ${shape[0]}; --dry-run shows the type of every tensor`
}

/** E.g. `the codes of 35 matrices were kept, which lie on a grid; what is left differs by .14 % (rms)`. */
function keptText({ matrices, left, error }: KeptLattices): string {
  const others = left > 0 ? `, but for ${(100 * left).toFixed(2)} % of their groups, which do not` : ''
  return `${matrices === 1 ? '1 matrix lies' : `${matrices} matrices lie`} on a grid${others}: ${matrices === 1 ? 'its' : 'their'} codes were kept, with an error of ${(100 * error).toFixed(3)} % from scales and rounding`
}
