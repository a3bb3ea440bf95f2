/** `quench train`: quantization-aware training of a GGUF file. */

import { type Command, Option, type OptionValues } from 'commander'
import { blockwise } from '../../config/methods.js'
import type { TrainEvent, TrainOptions } from '../../config/options.js'
import { optionEntries, optionGroups } from '../../config/table.js'
import { UsageError } from '../../errors.js'
import { helpEnd } from '../help.js'
import { stopSignal } from '../interrupt.js'
import { localModel, modelArgument } from '../models.js'
import { fileType } from '../options.js'
import { nameBeside, newName } from '../output-name.js'
import { group, jsonOption, progressOption, threadsOption } from '../shared.js'
import { tensorTypeFile } from '../tensor-types.js'
import { print, printJson, printWarning } from '../terminal/print.js'
import { clearProgress, progressLine } from '../terminal/progress.js'
import { trainOption, trainValues } from './options.js'
import { describeBlock, describeItems, describePlan, describeReport, describeSaved, tokens } from './text.js'

interface Options extends OptionValues {
  type: string
  output?: string
  json?: true
  dryRun?: true
}

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .description('quantization-aware training: a better file than PTQ of the same size')
    .argument('<input>', modelArgument('full-precision GGUF file; of a split model the first part'))
  group(command, 'Input and output', [
    new Option('--type <type>', 'file type, e.g. Q4_0, Q3_K_M, Q2_K')
      .argParser(fileType)
      .makeOptionMandatory(),
    new Option(
      '-o, --output <file>',
      'file to write; one that exists is replaced (default: INPUT-TYPE-QAT.gguf)',
    ),
  ])
  for (const [name, heading] of Object.entries(optionGroups))
    group(command, heading, [
      ...optionEntries.flatMap(([, entry]) => (entry.group === name ? [trainOption(entry)] : [])),
      ...(name === 'types' ? [tensorTypeFile()] : []),
    ])
  group(command, 'Running and output', [
    threadsOption('all'),
    new Option('--dry-run', 'print the plan item by item and exit; nothing is written'),
    progressOption(),
    jsonOption(),
  ])
  command
    .addHelpText(
      'after',
      helpEnd(
        [
          'Ctrl-C stops after the current step or block and leaves a checkpoint beside the output.',
          'On one kind of machine the same command makes the same file, whatever is cached or free and however busy the machine is, unless --time is given: then measured speeds set tokens and steps. --resume keeps what the run had decided.',
          'Without a name the output lies beside the input: model-f16.gguf becomes model-Q4_0-QAT.gguf, and a file that exists is not replaced.',
        ],
        [
          'quench train model-f16.gguf --type Q4_0 --time 30m',
          'quench train model-f16.gguf --type Q4_0 --data text.txt --memory 8GB -o model-Q4_0-QAT.gguf',
        ],
      ),
    )
    .action(async (name: string, options: Options) => {
      const { type, json, dryRun } = options
      const values = await trainValues(options)
      if (values.seconds !== undefined && values.steps !== undefined)
        throw new UsageError('--time and --steps exclude each other; give one of them')
      const { path: input, beside } = await localModel(name, 'full-precision')
      const output =
        options.output ?? defaultOutput(beside, type, (values.resume ?? false) || dryRun === true)
      const { hasLeftovers, isFinished, savedWork } = await import('../../resume/leftovers.js')
      if (values.resume && (await isFinished({ input, output, type, ...values }))) {
        if (json) printJson({ path: output, finished: true })
        else print([`${output} is finished: there is nothing to resume`])
        return
      }
      if (values.resume && !json && hasLeftovers(output)) print([describeSaved(savedWork(output))])
      const { planTraining, train } = await import('../../train/train.js')
      const settings: TrainOptions = {
        ...{ input, output, type, ...values },
        onProgress: showTraining(),
        onWarning: warn,
        signal: stopSignal(),
      }
      if (dryRun) {
        const plan = await planTraining(settings)
        clearProgress()
        if (json) printJson(plan)
        else print([...describePlan(plan, values), ...describeItems(plan), `the file would be ${output}`])
        return
      }
      const report = await train({
        ...settings,
        ...(!json && {
          onPlan: (plan) => say(describePlan(plan, values)),
          onBlock: (measured) => say([describeBlock(measured)]),
        }),
      })
      clearProgress()
      if (json) printJson(report)
      else print([...describeReport(report), ...nextStep(name, output)])
    })
}

/** The command that measures the file. */
const nextStep = (input: string, output: string): string[] => [
  `to measure it: quench eval ${output} --reference ${input}`,
]

/** @param continues what the run resumes from, or that nothing is written */
const defaultOutput = (input: string, type: string, continues: boolean): string =>
  (continues ? nameBeside : newName)(input, `${type}-QAT`)

export function warn(warning: string): void {
  clearProgress()
  printWarning(warning)
}

/** Shows the events of a run on the progress line. */
export function showTraining(label = ''): (event: TrainEvent) => void {
  let each = 0 // tokens per block or step
  const line = (
    stage: TrainEvent['stage'],
    doing: string,
    rate: (perSecond: number) => string = () => '',
  ): ReturnType<typeof progressLine> => progressLine(`${label}${doing}`, rate, stage)
  const rates = {
    measure: line('measure', 'measuring a block'),
    'write text': line('write text', 'the model writes text', tokens),
    importance: line('importance', 'collecting importances', tokens),
    validate: line('validate', 'validating', tokens),
    fisher: line('fisher', 'computing Fisher information', tokens),
    [blockwise]: line(
      blockwise,
      'solving blocks',
      (rate) => `${(60 * rate).toFixed(1)} blocks/min, ${tokens(rate * each)}`,
    ),
    teacher: line('teacher', 'asking the teacher', tokens),
    train: line('train', 'training', (rate) => `${rate.toFixed(2)} steps/s, ${tokens(rate * each)}`),
  }
  return (event) => {
    each = event.tokens / event.total
    rates[event.stage](event.done, event.total)
  }
}

function say(lines: readonly string[]): void {
  clearProgress()
  print(lines)
}
