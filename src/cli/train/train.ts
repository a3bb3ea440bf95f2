/** `quench train`: quantization-aware training of a GGUF file. */

import type { Command, OptionValues } from 'commander'
import type { TrainEvent, TrainOptions } from '../../config/options.js'
import { optionEntries } from '../../config/table.js'
import { stopSignal } from '../interrupt.js'
import { print, printJson, printWarning } from '../terminal/print.js'
import { clearProgress, progressLine } from '../terminal/progress.js'
import { trainOption, trainValues } from './options.js'
import { describeBlock, describeItems, describePlan, describeReport, tokens } from './text.js'

interface Options extends OptionValues {
  type: string
  output: string
  json?: true
  dryRun?: true
}

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .description('quantization-aware training: a quantized file that loses less than PTQ of the same size')
    .argument('<input>', 'full-precision GGUF file; of a split model the first part')
    .requiredOption('-t, --type <type>', 'file type, e.g. Q4_0, Q3_K_M, Q2_K')
    .requiredOption('-o, --output <file>', 'file to write; one that exists is replaced')
  for (const [, entry] of optionEntries) command.addOption(trainOption(entry))
  command
    .option('--dry-run', 'print the plan, item by item, and end; nothing is written')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nCtrl-C stops after the current step and leaves a checkpoint beside the output.' +
        '\n\nOn one kind of machine the same command makes the same file, whatever is cached or free and however busy the machine is, unless' +
        '\n--time is given: then measured speeds set tokens and steps. --resume keeps what the run had decided.' +
        '\n\nExample:\n  quench train model-F16.gguf --type Q4_0 -o model-Q4_0-QAT.gguf --time 30m',
    )
    .action(async (input: string, options: Options) => {
      const { output, json, dryRun } = options
      const type = options.type.toUpperCase()
      const values = trainValues(options)
      if (values.seconds !== undefined && values.steps !== undefined)
        command.error('error: --time and --steps exclude each other', { exitCode: 2 })
      const { isFinished } = await import('../../resume/leftovers.js')
      if (values.resume && (await isFinished({ input, output, type }))) {
        if (json) printJson({ path: output, finished: true })
        else print([`${output} is finished: there is nothing to resume`])
        return
      }
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
        else print([...describePlan(plan), ...describeItems(plan)])
        return
      }
      const report = await train({
        ...settings,
        ...(!json && {
          onPlan: (plan) => say(describePlan(plan)),
          onBlock: (measured) => say([describeBlock(measured)]),
        }),
      })
      clearProgress()
      if (json) printJson(report)
      else print(describeReport(report))
    })
}

export function warn(warning: string): void {
  clearProgress()
  printWarning(warning)
}

/** Shows the events of a run on the progress line. */
export function showTraining(label = ''): (event: TrainEvent) => void {
  let each = 0 // tokens of a block or a step
  const rates = {
    measure: progressLine(`${label}measuring a block`, () => ''),
    'write text': progressLine(`${label}the model writes text`, (rate) => tokens(rate)),
    blockwise: progressLine(
      `${label}solving blocks`,
      (rate) => `${(60 * rate).toFixed(1)} blocks/min, ${tokens(rate * each)}`,
    ),
    teacher: progressLine(`${label}asking the teacher`, (rate) => tokens(rate)),
    train: progressLine(`${label}training`, (rate) => `${rate.toFixed(2)} steps/s, ${tokens(rate * each)}`),
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
