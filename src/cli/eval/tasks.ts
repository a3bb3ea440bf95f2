/** Formats the task results of `quench eval` as tables: multiple choice and continuations. */
import { basename } from 'node:path'
import type {
  ChoiceEvaluation,
  ChoiceScore,
  GenerationEvaluation,
  GenerationScore,
  Share,
} from '../../evaluate/index.js'
import { plusMinus, table, visible } from '../terminal/format.js'
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
  const title = `${visible(basename(path))}: ${questions} questions, choices by their mean log-probability per token`
  return [bold(title), ...table(all, new Set([...header.keys()].slice(1)))]
}

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
    plusMinus(file.agreed.se, 1),
    String(file.agreed.median),
    ...calls(file),
    ...(file.toolCalls ? share(file.toolCalls.identical) : []),
  ])
  const first = [name(reference), '', '', '', '', '', ...calls(reference)]
  const title = `${prompts.length} prompts continued greedily by up to ${tokens} tokens; agreed: before the first that differs`
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
