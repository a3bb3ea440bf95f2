/** The pick in plain words, with the figures that it rests on. */
import { humanBytes } from '../format.js'
import { type Candidate, runOf } from './candidates.js'
import type { Catalogue, Family } from './catalogue/types.js'
import { typeToTrain } from './commands.js'
import type { DraftModel } from './draft.js'
import type { RunOptions } from './footprint.js'
import type { Machine } from './machine/machine.js'
import type { Limits, Pick as Picked } from './pick.js'
import { wasteOf } from './qat.js'
import { keptShare } from './quality/loss.js'
import type { SpeedBasis } from './speed/types.js'
import type { AdvisedFile, AdvisedModel } from './types.js'

export interface Told {
  readonly catalogue: Catalogue
  readonly candidates: ReadonlyMap<string, Candidate>
  readonly files: ReadonlyMap<string, AdvisedFile>
  readonly limits: Limits
  readonly machine: Machine
  readonly run: RunOptions
  readonly draft?: DraftModel
}

/** `0.028 (80 %: 0.012 to 0.061)` */
function lossText({ loss }: AdvisedFile): string {
  if (loss.kind === 'reference') return 'none'
  const [low, high] = loss.interval
  return `${nats(loss.expected)} (80 %: ${nats(low)} to ${nats(high)})`
}

const nats = (value: number): string => (value >= 0.0995 ? value.toFixed(2) : value.toPrecision(2))

interface Named extends Pick<AdvisedFile, 'type' | 'path' | 'file'> {
  readonly qat: { readonly qat: boolean }
}

/** `Q4_0 QAT` or the name of a file. */
export const nameOf = ({ type, qat, path, file = path }: Named): string =>
  file === undefined ? `${type}${qat.qat ? ' QAT' : ''}` : file.replace(/^.*[\\/]/, '')

/** Sentences about one model. */
export function sentencesOf(pick: Picked, told: Told): string[] {
  const { files, limits, run } = told
  const best = pick.best === undefined ? undefined : (files.get(pick.best) as AdvisedFile)
  if (!best) return nothingFits(pick, told)
  const { memory, speed, loss } = best
  const where =
    memory.vramBytes === 0
      ? `${humanBytes(memory.ramBytes)} of memory, on the processor`
      : limits.unified
        ? `${humanBytes(memory.ramBytes + memory.vramBytes)} of unified memory`
        : `${humanBytes(memory.vramBytes)} on ${cardsText(best)} and ${humanBytes(memory.ramBytes)} of the system's memory`
  const { context } = runOf(told.candidates.get(best.id) as Candidate, run)
  const sentences = [
    `Take ${nameOf(best)}: with a context of ${context.toLocaleString('en-US')} tokens it takes ${where}, and ${writes(speed)}.`,
    ...slowText(speed, limits),
    loss.kind === 'reference'
      ? 'It is the full precision, so nothing is lost.'
      : `Expected loss: ${lossText(best)} nats per token, ${loss.basis}.`,
    ...rulesOf(best, told),
    ...best.notes,
    ...wastedText(best, told),
    ...draftText(best, told),
    ...freeText(best, told),
    ...fullPrecisionText(best, told),
  ]
  const second = pick.runnerUp === undefined ? undefined : files.get(pick.runnerUp)
  if (second) sentences.push(runnerUpText(best, second))
  if (pick.next) {
    const next = files.get(pick.next.id) as AdvisedFile
    sentences.push(
      pick.next.lacks === 'memory'
        ? `The next better one, ${nameOf(next)} (expected loss ${lossText(next)}), lacks ${humanBytes(pick.next.amount)} of memory: ${giveUp(told)}.`
        : `${nameOf(next)} would lose less (${lossText(next)}), but writes ${speedText(next.speed.generate)} tokens a second, ${speedText(pick.next.amount)} too few.`,
    )
  }
  return [...sentences, ...cacheText(told, told.candidates.get(best.id)?.family)]
}

const cardsText = ({ memory: { cardBytes = [] } }: AdvisedFile): string =>
  cardBytes.length > 1
    ? `${cardBytes.length} graphics cards (${cardBytes.map(humanBytes).join(', ')})`
    : 'the graphics card'

/** From this ratio of its ends on an interval says nothing. */
const unknownSpeed = 20

export function writes({ generate, interval: [low, high], basis }: AdvisedFile['speed']): string {
  if (high > unknownSpeed * low)
    return 'how fast it writes is not known: files that were benchmarked here differ too much'
  return `writes some ${speedText(generate)} tokens a second (${speedText(low)} to ${speedText(high)}, ${bases[basis]})`
}

const slowText = ({ generate }: AdvisedFile['speed'], { minSpeed }: Limits): string[] =>
  generate < minSpeed
    ? [
        `That is less than the ${minSpeed} that are asked for, but may be enough, since the speed of this machine is a guess.`,
      ]
    : []

/** What kept the next better file from being picked. */
export function limitOf({ files, pick }: Pick<AdvisedModel, 'files' | 'pick'>): 'memory' | 'speed' | '' {
  const better = files.slice(
    0,
    Math.max(
      0,
      files.findIndex(({ id }) => id === pick),
    ),
  )
  return better.findLast(({ lacks }) => lacks)?.lacks?.what ?? ''
}

/** What a speed rests on. */
const bases: Readonly<Record<SpeedBasis, string>> = {
  bench: 'by files that were benchmarked here',
  probe: 'by a probe of this machine',
  'data sheet': 'by data sheets',
  guess: 'a guess',
}

/** Tokens a second. */
export const speedText = (perSecond: number): string =>
  perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond))

function runnerUpText(best: AdvisedFile, second: AdvisedFile): string {
  const measured = [best, second].every(({ loss }) => loss.kind.startsWith('measured'))
  // Fitted losses of one model err together, so that their intervals say nothing of their order.
  const alike = measured && second.loss.interval[0] < best.loss.interval[1]
  return `Runner-up: ${nameOf(second)}, ${humanBytes(second.bytes)}, expected loss ${lossText(second)}${alike ? '; the measurements do not tell the two apart' : ''}.`
}

/** What to give up or buy for a file that does not fit. */
function giveUp({ limits, run }: Told): string {
  const smaller = [
    ...(run.context > 4096 ? [`a context of ${Math.floor(run.context / 2)} tokens`] : []),
    ...(run.cacheTypes.keys === 'f16' ? ['a cache of type q8_0'] : []),
  ]
  const cache = smaller.length > 0 ? `${smaller.join(' or ')} would free some, ` : ''
  if (limits.unified) return `${cache}a machine with more memory would hold it`
  return `${cache}${limits.vram > 0 ? 'a larger card or more memory' : 'more memory'} would hold it`
}

/** The rules that people go by, where they come out of the figures. */
function rulesOf(best: AdvisedFile, { catalogue, candidates, files }: Told): string[] {
  const own = candidates.get(best.id) as Candidate
  const bits = new Map(catalogue.types.map(({ type, bitsPerWeight }) => [type, bitsPerWeight]))
  const size = bits.get(best.type) ?? best.bitsPerWeight
  const ofModel = [...files.values()].filter(({ id }) => candidates.get(id)?.group === own.group)
  const rules: string[] = []
  if (best.qat.qat && best.qat.suits)
    rules.push(
      `It was trained for ${best.qat.trainedFor} (${best.qat.confidence}: ${best.qat.because}), so it loses less than other files of its size.`,
    )
  else if (size >= 6 && best.loss.kind !== 'reference')
    rules.push(
      'There is memory left for six bits and more, where hardly anything is lost, so QAT would gain nothing.',
    )
  else if (/^Q[45]_K/.test(best.type) && !ofModel.some(({ qat }) => qat.qat))
    rules.push(
      'No QAT file of this model is known here, so Q4_K_M or Q5_K_M it is, best one that was made with an importance matrix.',
    )
  else if (size < 3.6)
    rules.push(
      'Memory is tight: at 2 to 3 bits much is lost, most where no importance matrix was used, and a smaller model in more bits may serve better.',
      ...tightText(ofModel, catalogue),
    )
  const better = ofModel.find(({ qat, fits }) => qat.qat && qat.suits === true && fits)
  if (better && !best.qat.qat)
    rules.push(
      `There is a QAT file, ${nameOf(better)} of ${humanBytes(better.bytes)}: take it where memory is short; ${nameOf(best)} is expected to lose less (${lossText(best)} against ${lossText(better)}).`,
    )
  if (better && best.qat.qat === false && better.qat.confidence !== 'certain')
    rules.push(
      'A QAT release of its publisher was trained further, so its KL divergence from the original does not tell how good it is.',
    )
  return rules
}

/** Which QAT at 2 to 3 bits, where nothing larger fits. */
function tightText(ofModel: readonly AdvisedFile[], catalogue: Catalogue): string[] {
  if (ofModel.some(({ qat, fits }) => qat.qat && fits)) return []
  const type = typeToTrain(ofModel)
  if (type === undefined) return []
  const left = Math.round(100 * Math.exp(keptShare(catalogue, 'quench', type).mean))
  return [`QAT is worth most at these bits: ${type} fits, and training left ${left} % of its loss elsewhere.`]
}

/** What the draft takes and is expected to win. */
function draftText(best: AdvisedFile, { draft, candidates }: Told): string[] {
  if (!draft) return []
  const known = (candidates.get(best.id) as Candidate).sized.draft
  if (!known || best.speed.drafted === undefined)
    return [`${draft.name} has another vocabulary, so llama.cpp does not take it as a draft of this model.`]
  const share = Math.round(100 * known.accepted)
  return [
    `With ${draft.name} as a draft, whose memory is in that, it would write some ${speedText(best.speed.drafted)} tokens a second if ${share} % of its guesses, ${known.guesses} at a time, are accepted: an assumption, which \`quench bench MODEL.gguf --draft DRAFT.gguf\` replaces${known.counted ? '; it counts here, as asked' : ', and which does not count here'}.`,
  ]
}

const mostWasted = 3

/** Files that are not picked and are in another type than they were trained for. */
function wastedText(best: AdvisedFile, { candidates, files, catalogue }: Told): string[] {
  const bits = new Map(catalogue.types.map(({ type, bitsPerWeight }) => [type, bitsPerWeight]))
  const group = candidates.get(best.id)?.group
  return [...files.values()]
    .filter((file) => file !== best && candidates.get(file.id)?.group === group)
    .flatMap((file) => {
      const waste = wasteOf(file.qat, file.type, bits)
      return waste === undefined ? [] : [`${nameOf(file)}: ${waste}`]
    })
    .slice(0, mostWasted)
}

/** Why a file in full precision is not picked though it is at hand, fits and loses nothing. */
function fullPrecisionText(best: AdvisedFile, { candidates, files }: Told): string[] {
  if (best.loss.kind === 'reference') return []
  const group = candidates.get(best.id)?.group
  const whole = [...files.values()].find(
    ({ id, loss, fits, path }) =>
      fits && path !== undefined && loss.kind === 'reference' && candidates.get(id)?.group === group,
  )
  if (!whole) return []
  const size = (whole.bytes / best.bytes).toFixed(1)
  return [
    `${nameOf(whole)} fits too and loses nothing, since losses are measured against it: ${size} times the size, ${speedText(whole.speed.generate)} tokens a second. Full precision is not picked beside quantized files; take it if nothing may be lost.`,
  ]
}

/** Whether the first card of which it is known multiplies 4-bit floats. */
export function fp4Note({ gpus }: Machine): string | undefined {
  const card = gpus.find(({ spec }) => spec?.nvfp4Native !== undefined)
  if (card?.spec === undefined) return undefined
  const gpu = card.description
  return card.spec.nvfp4Native
    ? `${gpu} multiplies 4-bit floats: NVFP4 and MXFP4 read prompts faster there than other types; tokens are written at the speed of the memory, as with any type of that size.`
    : `${gpu} has no matrix units for 4-bit floats (those begin with Blackwell): NVFP4 and MXFP4 run there, no faster than Q4_0.`
}

/** What the machine has no room for now, though it fits. */
function freeText({ memory }: AdvisedFile, { machine: { cpu, gpus } }: Told): string[] {
  const sum = (all: readonly { readonly freeBytes?: number }[]): number =>
    all.reduce((total, { freeBytes = Number.POSITIVE_INFINITY }) => total + freeBytes, 0)
  const places = [
    { needed: memory.ramBytes, free: sum([cpu]), where: 'of the memory' },
    { needed: memory.vramBytes, free: sum(gpus), where: 'on the graphics card' },
  ]
  return places
    .filter(({ needed, free }) => needed > free)
    .map(({ free, where }) => `Only ${humanBytes(free)} ${where} are free now: close other programs first.`)
}

/** A cache type that is known to harm this family. */
function cacheText({ catalogue, run }: Told, family: Family | undefined): string[] {
  const { keys, values } = run.cacheTypes
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

function nothingFits({ closest }: Picked, { files, run, limits }: Told): string[] {
  const nearest = closest === undefined ? undefined : files.get(closest.id)
  if (!nearest || !closest) return ['There is no file to choose from.']
  return closest.lacks === 'memory'
    ? [
        `Nothing fits with a context of ${run.context.toLocaleString('en-US')} tokens: ${nameOf(nearest)}, which needs least more, lacks ${humanBytes(closest.amount)} of memory.`,
        `Take a smaller model${run.cacheTypes.keys === 'f16' ? ', a shorter context, or a cache of type q8_0' : ' or a shorter context'}.`,
        ...nearest.notes,
      ]
    : [
        `Nothing is fast enough: ${nameOf(nearest)} is nearest and writes ${speedText(nearest.speed.generate)} tokens a second of the ${limits.minSpeed} that were asked for.`,
        'Take a smaller model, or fewer bits.',
      ]
}
