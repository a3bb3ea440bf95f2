/** `quench imatrix`: makes an importance matrix for `quench quantize` and llama-quantize. */
import { type Command, Option } from 'commander'
import type { ImatrixReport } from '../imatrix/make.js'
import type { ImatrixEvent } from '../imatrix/options.js'
import { helpEnd } from './help.js'
import { localModel, modelArgument } from './models.js'
import { bytes, positiveInteger } from './options.js'
import { imatrixName, unused } from './output-name.js'
import { contextOption, group, jsonOption, progressOption, threadsOption, valued } from './shared.js'
import { humanCount, plain } from './terminal/format.js'
import { print, printJson, printWarning } from './terminal/print.js'
import { clearProgress, progressLine } from './terminal/progress.js'

interface TypedOptions {
  output?: string
  data?: string[]
  tokens?: number
  context?: number
  processOutput?: true
  memory?: number
  resume?: true
  threads?: number
  progress?: unknown
  json?: true
}

export function addImatrix(program: Command): void {
  const command = program
    .command('imatrix')
    .description('collect an importance matrix, as llama-imatrix does')
    .argument('<input>', modelArgument('full-precision GGUF file; of a split model the first part'))
  group(command, 'Input and output', [
    new Option(
      '-o, --output <file>',
      'file to write; one that exists is replaced (default: INPUT.imatrix.gguf)',
    ),
    new Option(
      '-d, --data <paths...>',
      'text: files, or folders of .txt, .md and .jsonl files (default: the model writes 8192 tokens)',
    ),
    valued('--tokens <n>', 'maximum number of tokens of the text (default: all)', positiveInteger),
    contextOption('window length in tokens (default: 512)'),
    new Option('--process-output', 'include the output matrix too'),
  ])
  group(command, 'Running', [
    threadsOption('all'),
    valued(
      '--memory <size>',
      "memory that the process may take, e.g. 6GB (default: three quarters of the machine's)",
      bytes,
    ),
    new Option('--resume', 'go on with a run that was stopped'),
    progressOption(),
    jsonOption(),
  ])
  command
    .addHelpText(
      'after',
      helpEnd(
        [
          'The file holds the mean square of every input of every matrix; quantize takes it with --imatrix, and so does llama-quantize.',
          'Text like what the model is used for is best; some 50,000 tokens of several kinds are plenty.',
        ],
        [
          'quench imatrix model-f16.gguf --data texts -o model.imatrix.gguf',
          'quench imatrix model-f16.gguf --tokens 16384 --memory 4GB',
        ],
      ),
    )
    .action(async (name: string, options: TypedOptions) => {
      const { json, output, threads: _, progress: __, ...rest } = options
      const { path: input, beside } = await localModel(name, 'full-precision')
      const path = output ?? (options.resume ? imatrixName(beside) : unused(imatrixName(beside)))
      if (/\.dat$/i.test(path))
        printWarning(`${path} will be a GGUF file, whatever its name; a name that ends with .gguf says so`)
      const { makeImatrix } = await import('../imatrix/make.js')
      const { summarizeFile } = await import('../gguf/summary.js')
      const { quantized, type } = await summarizeFile(input)
      if (quantized)
        printWarning(`${input} is quantized (${type}); a matrix of the full-precision model says more`)
      const report = await makeImatrix({
        ...rest,
        input,
        output: path,
        onProgress: showProgress(),
        onWarning(warning) {
          clearProgress()
          printWarning(warning)
        },
      })
      clearProgress()
      if (json) printJson(report)
      else print(describe(report))
    })
}

function showProgress(): (event: ImatrixEvent) => void {
  const rate = (perSecond: number): string => `${humanCount(perSecond)} tokens/s`
  const lines = {
    'write text': progressLine('the model writes text', rate, 'write text'),
    importance: progressLine('collecting importances', rate, 'importance'),
  }
  return ({ stage, done, total }) => lines[stage](done, total)
}

const describe = ({ path, entries, windows, context, tokens, seconds }: ImatrixReport): string[] => [
  `${plain(path, 1000)}: importances of ${entries} matrices from ${tokens} tokens, ${windows} windows of ${context}`,
  `written in ${seconds.toFixed(1)} s`,
]
