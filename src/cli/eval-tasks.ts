/** Choice tasks of `quench eval` as a table. */
import { basename } from 'node:path'
import type { ChoiceEvaluation, ChoiceScore, Share } from '../evaluate/index.js'
import { plain, table } from './format.js'

export function describeChoices(evaluation: ChoiceEvaluation): string {
  const { path, questions, reference, files } = evaluation
  const header = ['file', 'right', '95 %', 'by sum', '95 %', 'as the reference', '95 %', 'lost', 'won']
  const several = new Set(files.map(({ kvType }) => kvType)).size > 1
  const start = (score: ChoiceScore): string[] => [
    `${plain(basename(score.path))}${several ? ` kv ${score.kvType}` : ''}`,
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
  const title = `${plain(basename(path))}: ${questions} questions, choices by their mean log-probability per token\n`
  return title + table(all, new Set([...header.keys()].slice(1)))
}

const share = ({ mean, interval: [low, high] }: Share): string[] => [
  `${(100 * mean).toFixed(2)} %`,
  `${(100 * low).toFixed(1)}-${(100 * high).toFixed(1)}`,
]
