/**
 * Multiple-choice questions, scored as by llama-perplexity: context and choice are tokenized as one text with a space between
 * them, and a choice's score is the log-probability of its tokens, starting with the first in which the choices differ.
 * `accuracyNorm` picks the choice with the best mean per token (what llama-perplexity prints for HellaSwag and multiple
 * choice), `accuracy` the one with the best sum.
 */
import { setImmediate } from 'node:timers/promises'
import { checkOptionNames } from '../../option-checks.js'
import { forEachModel, type ModelsOptions, modelOptions, type RunFile } from '../models.js'
import { wilson } from '../statistics.js'
import type { ChoiceFile, ChoiceForm, ChoiceTask } from './choice-files.js'
import {
  type PreparedQuestion,
  prepareQuestion,
  type ScoredQuestion,
  scoreQuestions,
} from './choice-scores.js'

/** A share of questions, with its 95 % Wilson interval. */
export interface Share {
  readonly mean: number
  readonly interval: readonly [low: number, high: number]
}

export interface ChoiceScore extends RunFile {
  readonly accuracy: Share
  readonly accuracyNorm: Share
  /** Index of the choice picked for each question, by the mean per token. */
  readonly picks: readonly number[]
}

export interface ChoiceComparison extends ChoiceScore {
  /** Share of questions for which the reference picks the same choice. Needs a reference, as do `lost` and `won`. */
  readonly agreement?: Share
  /** Questions that the reference answers correctly and the file does not, and the reverse. */
  readonly lost?: number
  readonly won?: number
}

export interface ChoiceEvaluation {
  readonly path: string
  readonly form: ChoiceForm
  readonly questions: number
  readonly reference?: ChoiceScore
  readonly files: readonly ChoiceComparison[]
}

export interface ChoiceOptions extends ModelsOptions {
  readonly tasks: ChoiceFile
}

/** @throws FileError for files that cannot be run or compared */
export async function evaluateChoices(options: ChoiceOptions): Promise<ChoiceEvaluation> {
  const { tasks: file, threads, signal } = options
  checkOptionNames(options, { ...modelOptions, reference: true, files: true, tasks: true })
  const { tasks } = file
  const { reference, files } = await forEachModel(options, 'choices', async (model, run, report) => {
    const prepared: PreparedQuestion[] = []
    for (const [i, task] of tasks.entries()) {
      if (i % 32 === 0) await setImmediate() // tokenizing is slow
      prepared.push(prepareQuestion(model, task, file.form, { path: file.path, name: `question ${i + 1}` }))
    }
    const scored = await scoreQuestions(model, prepared, run.kvType, report, { threads, signal })
    return summarize(run, tasks, scored)
  })
  return {
    path: file.path,
    form: file.form,
    questions: tasks.length,
    ...(reference && { reference }),
    files: files.map((score) => (reference ? compare(tasks, reference, score) : score)),
  }
}

function summarize(
  run: RunFile,
  tasks: readonly ChoiceTask[],
  scored: readonly ScoredQuestion[],
): ChoiceScore {
  const best = (of: (scored: ScoredQuestion) => Float64Array): number[] =>
    scored.map((each) => largest(of(each)))
  const sums = best(({ sums }) => sums)
  const picks = best(({ sums, counts }) => sums.map((sum, c) => sum / counts[c]))
  const right = (chosen: readonly number[]): Share =>
    share(chosen.filter((choice, i) => tasks[i].right.includes(choice)).length, tasks.length)
  return { ...run, accuracy: right(sums), accuracyNorm: right(picks), picks }
}

function compare(tasks: readonly ChoiceTask[], reference: ChoiceScore, score: ChoiceScore): ChoiceComparison {
  const isRight = ({ picks }: ChoiceScore, i: number): boolean => tasks[i].right.includes(picks[i])
  const count = (when: (i: number) => boolean): number => [...tasks.keys()].filter(when).length
  return {
    ...score,
    agreement: share(
      count((i) => score.picks[i] === reference.picks[i]),
      tasks.length,
    ),
    lost: count((i) => isRight(reference, i) && !isRight(score, i)),
    won: count((i) => !isRight(reference, i) && isRight(score, i)),
  }
}

const share = (successes: number, n: number): Share => ({
  mean: successes / n,
  interval: wilson(successes, n),
})

/** Index of the largest value; the first one on ties. */
function largest(values: Float64Array): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i
  return best
}
