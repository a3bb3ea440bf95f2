/** Losses of files on several kinds of text, and the gains of a trained file over its baselines on each kind. */
import { basename } from 'node:path'
import { type FileEvaluation, recovered } from '../src/evaluate/index.js'
import { type Estimate, ratio } from '../src/evaluate/statistics.js'
import { humanBytes, visible } from '../src/format.js'

export interface Kind {
  readonly kind: string
  /** Scored tokens. */
  readonly tokens: number
  readonly files: readonly (Pick<FileEvaluation, 'path' | 'bytes' | 'bitsPerWeight' | 'windowSums'> & {
    /** Nats per token. */
    readonly kld: Estimate
  })[]
}

/** A difference, the verdict of its 95 % interval, and the baseline. */
interface Difference extends Estimate {
  readonly opponent: string
  readonly verdict: 'better' | 'worse' | 'not significant'
}

/**
 * The gain of a file on one kind of text: relative to the loss of the first file, and in nats per token against each baseline.
 */
interface Won {
  readonly kind: string
  readonly recovered: Estimate
  readonly differences: readonly Difference[]
}

export interface Comparison {
  readonly kinds: readonly Won[]
  /** Averaged over kinds. */
  readonly mean: Won
  readonly worst: Pick<Won, 'kind' | 'recovered'>
}

/** Compares a file, given by index, with the first files. */
export function compare(kinds: readonly Kind[], file: number, opponents: readonly string[]): Comparison {
  const won = kinds.map(({ kind, files }): Won => {
    const { tokens, kld } = files[file].windowSums
    const differences = opponents.map((opponent, i) => {
      const other = files[i].windowSums.kld
      return judged(
        opponent,
        ratio(
          kld.map((own, w) => own - other[w]),
          tokens,
        ),
      )
    })
    return { kind, recovered: recovered(files[file], files[0]), differences }
  })
  const mean = {
    kind: 'mean',
    recovered: meanOf(won.map((each) => each.recovered)),
    differences: opponents.map((opponent, i) =>
      judged(opponent, meanOf(won.map(({ differences }) => differences[i]))),
    ),
  }
  const worst = won.reduce((least, each) => (each.recovered.mean < least.recovered.mean ? each : least))
  return { kinds: won, mean, worst: { kind: worst.kind, recovered: worst.recovered } }
}

/** The mean of independent estimates, each with a nearly normal error. */
function meanOf(estimates: readonly Estimate[]): Estimate {
  const n = estimates.length
  const mean = estimates.reduce((sum, each) => sum + each.mean, 0) / n
  const se = Math.sqrt(estimates.reduce((sum, each) => sum + each.se ** 2, 0)) / n
  return { mean, se, interval: [mean - 1.96 * se, mean + 1.96 * se] }
}

function judged(opponent: string, estimate: Estimate): Difference {
  const [low, high] = estimate.interval ?? [estimate.mean, estimate.mean]
  return { opponent, ...estimate, verdict: high < 0 ? 'better' : low > 0 ? 'worse' : 'not significant' }
}

export const percent = (share: number): string => `${(100 * share).toFixed(0)} %`
const shareOf = ({ mean, se }: Estimate): string => `${(100 * mean).toFixed(0)} ± ${percent(se)}`
const nats = ({ mean, se }: Estimate): string => `${mean.toFixed(4)} ± ${se.toFixed(4)}`
const row = (cells: readonly string[]): string => `| ${cells.map(visible).join(' | ')} |`
const head = (cells: readonly string[]): string[] => [row(cells), `|---${'|---:'.repeat(cells.length - 1)}|`]

/** The table of losses. @param names of the files of every kind */
export function lossLines(model: string, kinds: readonly Kind[], names: readonly string[]): string[] {
  const [{ files }] = kinds
  const mean = (i: number): Estimate => meanOf(kinds.map((kind) => kind.files[i].kld))
  const tokens = kinds.map((each) => `${each.tokens} of ${each.kind}`).join(', ')
  return [
    `KL divergence to ${visible(basename(model))}, nats per token; scored tokens: ${visible(tokens)}`,
    '',
    ...head(['text', ...names]),
    ...kinds.map((each) => row([each.kind, ...each.files.map(({ kld }) => nats(kld))])),
    row(['mean', ...names.map((_, i) => nats(mean(i)))]),
    row(['size', ...files.map(({ bytes }) => humanBytes(bytes))]),
    row(['bits per weight', ...files.map(({ bitsPerWeight }) => bitsPerWeight.toFixed(2))]),
  ]
}

/** The table of a trained file, and sentences about it. @param type of the first file */
export function comparisonLines(type: string, name: string, { kinds, mean, worst }: Comparison): string[] {
  const opponents = mean.differences.map(({ opponent }) => opponent)
  const counts = opponents.map((opponent, i) => {
    const all = kinds.map(({ differences }) => differences[i])
    const count = (of: (difference: Difference) => boolean): number => all.filter(of).length
    const beyond = (verdict: Difference['verdict']): number => count((each) => each.verdict === verdict)
    return `- against ${opponent}: loses less on ${count((each) => each.mean < 0)} of ${all.length} kinds; better beyond the error on ${beyond('better')}, worse on ${beyond('worse')}`
  })
  return [
    '',
    `${visible(name)} less its opponents, nats per token (negative: better), paired by window and judged by 95 % intervals`,
    '',
    ...head(['text', 'recovered', ...opponents.map((opponent) => `- ${opponent}`)]),
    ...[...kinds, mean].map((won) =>
      row([
        won.kind,
        shareOf(won.recovered),
        ...won.differences.map((each) => `${nats(each)} ${each.verdict}`),
      ]),
    ),
    '',
    `- recovered of what ${type} loses: ${shareOf(mean.recovered)} averaged over kinds, ${shareOf(worst.recovered)} on the worst (${visible(worst.kind)})`,
    ...counts,
  ]
}
