/** Formats the task results of `quench eval` as tables: multiple choice and continuations. */
import { basename } from 'node:path'
import type {
  ChoiceEvaluation,
  ChoiceScore,
  GenerationEvaluation,
  GenerationScore,
  Share,
} from '../../evaluate/index.js'
import { plural, plusMinus, table, visible } from '../terminal/format.js'
import { bold, type Line } from '../terminal/style.js'

export function describeChoices(evaluation: ChoiceEvaluation): Line[] {
  const { path, questions, reference, files } = evaluation
  const header = ['file', 'right', '95 %', 'by sum', '95 %', 'as the reference', '95 %', 'lost', 'won']
  const name = namer(files)
  const start = (score: ChoiceScore): string[] => [
    name(score),
    ...share(score.accuracyNorm),
    ...share(score.accuracy),
  ]
  const rows = files.map((file) => [
    ...start(file),
    ...(file.agreement ? share(file.agreement) : ['', '']),
    String(file.lost ?? ''),
    String(file.won ?? ''),
  ])
  const all = [header, ...(reference ? [start(reference)] : []), ...rows]
  const title = `${visible(basename(path))}: ${plural(questions, 'question')}, choices by their mean log-probability per token`
  return [bold(title), ...table(all, new Set([...header.keys()].slice(1))), choiceTerms]
}

const choiceTerms =
  'right: share answered right (as acc_norm, but by tokens, not bytes); by sum: by the sum of log-probabilities instead (acc); as the reference: share with the same choice; lost, won: right only with the reference, only with the file; 95 %: interval'

export function describeGeneration({ prompts, tokens, reference, files }: GenerationEvaluation): Line[] {
  const header = ['file', 'identical', '95 %', 'agreed tokens', '', 'median']
  const called = reference.toolCalls !== undefined
  if (called) header.push('calls parse', '95 %', 'as the reference', '95 %')
  const name = namer(files)
  const calls = ({ toolCalls }: GenerationScore): string[] => (toolCalls ? share(toolCalls.parsed) : [])
  const rows = files.map((file) => [
    name(file),
    ...share(file.identical),
    file.agreed.mean.toFixed(1),
    Number.isFinite(file.agreed.se) ? plusMinus(file.agreed.se, 1) : '',
    String(file.agreed.median),
    ...calls(file),
    ...(file.toolCalls ? share(file.toolCalls.identical) : []),
  ])
  const first = [name(reference), '', '', '', '', '', ...calls(reference)]
  const title = `${plural(prompts.length, 'prompt')} continued greedily by up to ${plural(tokens, 'token')}; agreed: before the first that differs`
  return [bold(title), ...table([header, first, ...rows], new Set([...header.keys()].slice(1)))]
}

/** The name of a file, with its KV-cache type if there are several. */
function namer(files: readonly { readonly kvType: string }[]) {
  const several = new Set(files.map(({ kvType }) => kvType)).size > 1
  return ({ path, kvType }: { readonly path: string; readonly kvType: string }): string =>
    `${visible(basename(path))}${several ? ` kv ${kvType}` : ''}`
}

const share = ({ mean, interval: [low, high] }: Share): string[] => [
  `${(100 * mean).toFixed(2)} %`,
  `${(100 * low).toFixed(1)}-${(100 * high).toFixed(1)}`,
]
