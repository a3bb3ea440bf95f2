/** What `quench inspect` says of how a file was made, and whether that is so. */

import { plural } from '../format.js'
import type { SourceCheck, Verification } from '../names/verify.js'
import type { ProvenanceStep, SourceFile } from '../provenance/record.js'
import { flagOfKey } from './options.js'
import { plain, table } from './terminal/format.js'
import type { Line } from './terminal/style.js'

const mostShown = 400
const clipped = (text: string): string => plain(text, mostShown)

/** The option on the command line. */
const optionOf = (name: string): string => (name === 'seconds' ? '--time' : flagOfKey(name))

/** E.g. `made with quench 0.1.0, quantize: --type Q4_K_M`, and its sources. */
export function describeMade(made: readonly ProvenanceStep[]): Line[] {
  return made.flatMap(({ quench, command, options, sources }) => {
    const asked = Object.entries(options).map(([name, value]) => `${optionOf(name)} ${String(value)}`)
    const models = sources.slice(0, 3).map((source) => `  from ${clipped(sourceName(source))}`)
    const more = sources.length > 3 ? [`  and ${sources.length - 3} more files`] : []
    return [
      `made with quench ${plain(quench, 30)}, ${plain(command, 30)}: ${clipped(asked.join(' '))}`,
      ...models,
      ...more,
    ]
  })
}

const sourceName = ({ name, repository, revision }: SourceFile): string =>
  repository === undefined ? name : `hf:${repository}@${revision?.slice(0, 12)}:${name}`

const dataTexts = {
  intact: 'intact: the tensors are those that were written',
  damaged:
    'DAMAGED: the tensors have other bytes than those that were written; make or download the file again',
  converted: 'OTHER: another program has made this file from one of quench, and the record was left in it',
} as const

const sourceTexts = { same: 'the same', other: 'OTHER content', absent: 'not at hand, not checked' } as const

export function describeVerification({ path, made, data, sources, ok }: Verification): Line[] {
  const rows = sources.map((source: SourceCheck) => [
    plain(source.command, 30),
    clipped(sourceName(source)),
    sourceTexts[source.state],
    source.found === undefined ? '' : clipped(source.found),
  ])
  return [
    ...describeMade(made),
    '',
    `data  ${dataTexts[data.state]}`,
    '',
    ...table([['step', 'made from', 'content', 'compared with'], ...rows], new Set()),
    '',
    ok ? `${path} ${soundText(sources)}` : `${path} is not what it says`,
  ]
}

/** @param sources of a file that is as recorded */
function soundText(sources: readonly SourceCheck[]): string {
  const absent = sources.filter(({ state }) => state === 'absent').length
  if (absent === 0) return 'is what it says'
  const which =
    absent === sources.length ? 'what it was made from' : `${absent} of ${plural(sources.length, 'source')}`
  return `has the tensors that were written; ${which} was not at hand to be checked`
}
