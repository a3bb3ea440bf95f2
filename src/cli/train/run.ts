/** A run of `train` from the command line: plan, progress and report. */
import { blockwise } from '../../config/methods.js'
import type { TrainEvent, TrainOptions } from '../../config/options.js'
import type { Plan } from '../../config/plan.js'
import { commandName } from '../command-name.js'
import { stopSignal } from '../terminal/interrupt.js'
import { print, printJson, printWarning } from '../terminal/print.js'
import { clearProgress, progressLine } from '../terminal/progress.js'
import {
  describeBlock,
  describeItems,
  describePlan,
  describeReport,
  describeSaved,
  overTime,
  tokens,
} from './text.js'

export interface Run {
  /** The model, as it was named. */
  readonly name: string
  readonly input: string
  readonly output: string
  readonly type: string
  /** The other options of `train`. */
  readonly values: Partial<TrainOptions>
  readonly json?: true | undefined
  readonly dryRun?: true | undefined
}

export async function runTrain({ name, input, output, type, values, json, dryRun }: Run): Promise<void> {
  const { hasLeftovers, isFinished, savedWork } = await import('../../resume/leftovers.js')
  if (values.resume && (await isFinished({ input, output, type, ...values }))) {
    if (json) printJson({ path: output, finished: true })
    else print([`${output} is finished: there is nothing to resume`])
    return
  }
  // Said with the plan: other settings than those of what was saved are refused before it.
  const resumed = values.resume && hasLeftovers(output) ? [describeSaved(savedWork(output))] : []
  const asked = { ...values, resumed: resumed.length > 0 }
  const { planTraining, train } = await import('../../train/train.js')
  const settings: TrainOptions = {
    ...{ input, output, type, ...values },
    onProgress: showTraining(),
    onWarning: warn,
    signal: stopSignal(),
  }
  const warnOfTime = (plan: Plan): void => {
    const late = overTime(plan, asked)
    if (late !== undefined) warn(late)
  }
  if (dryRun) {
    const plan = await planTraining(settings)
    clearProgress()
    warnOfTime(plan)
    if (json) printJson(plan)
    else
      print([...resumed, ...describePlan(plan, asked), ...describeItems(plan), `the file would be ${output}`])
    return
  }
  const report = await train({
    ...settings,
    ...(!json && {
      onPlan: (plan) => {
        say([...resumed, ...describePlan(plan, asked)])
        warnOfTime(plan)
      },
      onBlock: (measured) => say([describeBlock(measured)]),
    }),
  })
  clearProgress()
  if (json) printJson(report)
  else print([...describeReport(report), ...nextStep(name, output)])
}

/** The command that measures the file. */
const nextStep = (input: string, output: string): string[] => [
  `to measure it: ${commandName()} eval ${output} --reference ${input}`,
]

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
