/** The pick in plain words, with the figures that it rests on. */
import { humanBytes } from '../format.js'
import type { Candidate } from './candidates.js'
import type { Catalogue, Family } from './catalogue/types.js'
import type { RunOptions } from './footprint.js'
import type { Limits, Pick } from './pick.js'
import { wasteOf } from './qat.js'
import type { Target } from './target.js'
import type { AdvisedFile } from './types.js'

export interface Told {
  readonly catalogue: Catalogue
  readonly candidates: ReadonlyMap<string, Candidate>
  readonly files: ReadonlyMap<string, AdvisedFile>
  readonly limits: Limits
  readonly target: Target
  readonly run: RunOptions
}

/** `0.028 (80 %: 0.012 to 0.061)` */
function lossText({ loss }: AdvisedFile): string {
  if (loss.kind === 'reference') return 'none'
  const [low, high] = loss.interval
  return `${nats(loss.expected)} (80 %: ${nats(low)} to ${nats(high)})`
}

const nats = (value: number): string => (value >= 0.0995 ? value.toFixed(2) : value.toPrecision(2))

/** `Gemma 3 4B Q4_0, QAT` or the name of a file. */
const nameOf = ({ type, qat, path }: AdvisedFile): string =>
  path === undefined ? `${type}${qat.qat ? ' QAT' : ''}` : path.replace(/^.*[\\/]/, '')

/** Sentences about one model. */
export function sentencesOf(pick: Pick, told: Told): string[] {
  const { files, target, run } = told
  const best = pick.best === undefined ? undefined : (files.get(pick.best) as AdvisedFile)
  if (!best) return nothingFits(pick, told)
  const { memory, speed, loss } = best
  const where =
    memory.vramBytes === 0
      ? `${humanBytes(memory.ramBytes)} of memory, on the processor`
      : target.unified
        ? `${humanBytes(memory.ramBytes + memory.vramBytes)} of unified memory`
        : `${humanBytes(memory.vramBytes)} on the graphics card and ${humanBytes(memory.ramBytes)} of the system's memory`
  const sentences = [
    `Take ${nameOf(best)}: with a context of ${run.context.toLocaleString('en-US')} tokens it takes ${where}, and writes some ${tokens(speed.generate)} tokens a second.`,
    loss.kind === 'reference'
      ? 'It is the full precision, so nothing is lost.'
      : `Expected loss: ${lossText(best)} nats per token, ${loss.basis}.`,
    ...rulesOf(best, told),
  ]
  const second = pick.runnerUp === undefined ? undefined : files.get(pick.runnerUp)
  if (second) sentences.push(runnerUpText(best, second))
  if (pick.next) {
    const next = files.get(pick.next.id) as AdvisedFile
    sentences.push(
      pick.next.lacks === 'memory'
        ? `The next better one, ${nameOf(next)} (expected loss ${lossText(next)}), lacks ${humanBytes(pick.next.amount)} of memory: ${giveUp(told)}.`
        : `${nameOf(next)} would lose less (${lossText(next)}), but writes ${tokens(next.speed.generate)} tokens a second, ${tokens(pick.next.amount)} too few.`,
    )
  }
  return [...sentences, ...cacheText(told, told.candidates.get(best.id)?.family)]
}

const tokens = (perSecond: number): string =>
  perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond))

function runnerUpText(best: AdvisedFile, second: AdvisedFile): string {
  const measured = [best, second].every(({ loss }) => loss.kind.startsWith('measured'))
  // Fitted losses of one model err together, so that their intervals say nothing of their order.
  const alike = measured && second.loss.interval[0] < best.loss.interval[1]
  return `Runner-up: ${nameOf(second)}, ${humanBytes(second.bytes)}, expected loss ${lossText(second)}${alike ? '; the measurements do not tell the two apart' : ''}.`
}

/** What to give up or buy for a file that does not fit. */
function giveUp({ limits, run, target }: Told): string {
  const cache =
    run.context > 4096
      ? `a context of ${Math.floor(run.context / 2)} tokens or a cache of type q8_0 would free some, `
      : ''
  if (target.unified) return `${cache}a machine with more memory would hold it`
  return `${cache}${limits.vram > 0 ? 'a larger card or more memory' : 'more memory'} would hold it`
}

/** The rules that people go by, where they come out of the figures. */
function rulesOf(best: AdvisedFile, { catalogue, candidates, files, target }: Told): string[] {
  const own = candidates.get(best.id) as Candidate
  const bits = new Map(catalogue.types.map(({ type, bitsPerWeight }) => [type, bitsPerWeight]))
  const size = bits.get(best.type) ?? best.bitsPerWeight
  const ofModel = [...files.values()].filter(({ id }) => candidates.get(id)?.group === own.group)
  const waste = wasteOf(best.qat, best.type, bits)
  const rules: string[] = waste === undefined ? [] : [waste]
  if (best.qat.qat && best.qat.suits)
    rules.push(
      `It was trained for ${best.qat.trainedFor} (${best.qat.confidence}: ${best.qat.because}), so it loses less than other files of its size.`,
    )
  else if (size >= 6 && best.loss.kind !== 'reference')
    rules.push(
      'There is memory left for six bits and more, where hardly anything is lost; QAT has nothing left to win back.',
    )
  else if (size >= 4.6 && size < 6 && !ofModel.some(({ qat }) => qat.qat))
    rules.push(
      'No QAT file of this model is known here, so Q4_K_M or Q5_K_M it is, best one that was made with an importance matrix.',
    )
  else if (size < 3.6)
    rules.push(
      'Memory is tight: at 2 to 3 bits much is lost, most where no importance matrix was used, and a smaller model in more bits may serve better. QAT at these bits is worth most.',
    )
  const better = ofModel.find(({ qat, fits }) => qat.qat && qat.suits === true && fits)
  if (better && !best.qat.qat)
    rules.push(
      `There is a QAT file, ${nameOf(better)} of ${humanBytes(better.bytes)}: take it where memory is short; ${nameOf(best)} is expected to lose less (${lossText(best)} against ${lossText(better)}).`,
    )
  if (better && best.qat.qat === false && better.qat.confidence !== 'certain')
    rules.push(
      'A QAT release of its publisher is a model of its own: its distance from the original is no measure of it.',
    )
  if (own.fp4 && target.fp4 === false)
    rules.push(
      `${target.gpu} has no matrix units for 4-bit floats, so ${best.type} is decoded first and no faster than other types of its size.`,
    )
  return rules
}

/** Which of the candidates are 4-bit floats, and whether the card multiplies them. */
export function fp4Note({ fp4, gpu, vramBytes }: Target): string | undefined {
  if (vramBytes === 0 || gpu === undefined || fp4 === undefined) return undefined
  return fp4
    ? `${gpu} multiplies 4-bit floats: NVFP4 and MXFP4 read prompts faster there than other types; tokens are written at the speed of the memory, as with any type of that size.`
    : `${gpu} has no matrix units for 4-bit floats (those begin with Blackwell): NVFP4 and MXFP4 run there, no faster than Q4_0.`
}

/** A cache type that is known to harm this family. */
function cacheText({ catalogue, run: { keys, values } }: Told, family: Family | undefined): string[] {
  if (keys === 'f16' && values === 'f16') return []
  const named = `${keys}${keys === values ? '' : `/${values}`}`
  const known = catalogue.cacheLosses.filter(
    (loss) => loss.family === family?.id && loss.keys === keys && loss.values === values,
  )
  if (family === undefined || known.length === 0)
    return [
      `The loss of a ${named} cache comes on top; no figure of it is known for this model, and \`quench eval --kv-type\` measures it.`,
    ]
  const worst = known.reduce((a, b) => (a.kld > b.kld ? a : b))
  const hand = worst.secondHand ? ', at second hand' : ''
  return worst.kld >= harmful
    ? [
        `A ${named} cache harms this family: it alone was measured to lose ${nats(worst.kld)} (${worst.text}${hand}). Keep f16, or shorten the context.`,
      ]
    : [`A ${named} cache was measured to lose ${nats(worst.kld)} (${worst.text}${hand}) on top.`]
}

/** As much as a 4-bit file loses. */
const harmful = 0.05

function nothingFits({ closest }: Pick, { files, run, limits }: Told): string[] {
  const nearest = closest === undefined ? undefined : files.get(closest.id)
  if (!nearest || !closest) return ['There is no file to choose from.']
  return closest.lacks === 'memory'
    ? [
        `Nothing fits with a context of ${run.context.toLocaleString('en-US')} tokens: ${nameOf(nearest)}, which needs least more, lacks ${humanBytes(closest.amount)} of memory.`,
        'Take a smaller model, a shorter context, or a cache of type q8_0.',
      ]
    : [
        `Nothing is fast enough: ${nameOf(nearest)} is nearest and writes ${tokens(nearest.speed.generate)} tokens a second of the ${limits.minSpeed} that were asked for.`,
        'Take a smaller model, or fewer bits.',
      ]
}
