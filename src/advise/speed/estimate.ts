/**
 * Tokens per second. A token that is generated waits for memory: every weight it uses and the cache are read once. A prompt
 * waits for arithmetic: two operations for each weight and token. Rates are the probe's where it has run, else a share of
 * what data sheets promise; speeds of files of like size that were measured on the machine correct both.
 */
import { spreadOf } from '../../speed/index.js'
import type { Machine, MachineDevice, Rate } from '../machine/machine.js'
import type { Calibration, Comparison, Draft, SpeedEstimate, SpeedRange } from './types.js'
import { bytesOf, type TokenWork } from './work.js'

/** Of a data sheet's bandwidth and operations; people measure 0.7 to 0.85 of memory. */
const reached = { bandwidth: 0.75, flops: 0.35 }
/** Of machines of which nobody knows: two channels of DDR4-3200, a card in the middle of those of the last years. */
const usualBandwidth = { cpu: 51.2e9, gpu: 300e9 }
const usualFlops = { cpu: 0.3e12, gpu: 7e12 }
/** A layer on a graphics processor takes this long to start, however small it is. */
const gpuLayerSeconds = 20e-6
/** Half of the range around the expected value, as a factor. */
const spreads = { bench: 1.1, probe: 1.25, sheet: 1.5, guess: 2 }

/** Files of another order of size say little of each other: small ones stay in caches. */
const alike = 10

export function estimateSpeed(
  work: TokenWork,
  machine: Machine,
  calibration: Calibration = { generate: [], prompt: [] },
  draft?: Draft,
): SpeedEstimate {
  const seconds = secondsOf(work, machine)
  const bytes = bytesOf(work)
  const near = (all: readonly Comparison[]): number[] =>
    all
      .filter((other) => Math.max(other.bytes / bytes, bytes / other.bytes) <= alike)
      .map(({ ratio }) => ratio)
  const [generated, read] = machine.described
    ? [[], []]
    : [near(calibration.generate), near(calibration.prompt)]
  const known = rateKinds(work, machine)
  const spread = known === 'probe' ? spreads.probe : known === 'data sheet' ? spreads.sheet : spreads.guess
  const generate = range(seconds.generate, generated, spread)
  return {
    prompt: range(seconds.prompt, read, spread),
    generate,
    ...(draft && { drafted: drafted(generate, bytes, draft) }),
    basis: generated.length > 0 ? 'bench' : known,
    notes: slowTypes(work, machine),
  }
}

/** Seconds for one token, uncorrected. */
export function secondsOf(work: TokenWork, machine: Machine): { generate: number; prompt: number } {
  let generate = work.gpuLayers * gpuLayerSeconds
  let prompt = 0
  for (const { device, type, bytes, weights } of work.weights) {
    const rate = rateOf(deviceOf(machine, device), type)
    generate += bytes / rate.bytesPerSecond
    prompt += (2 * weights) / rate.flops
  }
  for (const [device, bytes] of work.cache) {
    const holder = deviceOf(machine, device)
    const fastest = Math.max(0, ...[...holder.rates.values()].map(({ bytesPerSecond }) => bytesPerSecond))
    generate += bytes / (fastest || rateOf(holder, '').bytesPerSecond)
  }
  return { generate, prompt }
}

/** The processor takes the place of a graphics processor that the machine has not. */
const deviceOf = (machine: Machine, device: number): MachineDevice => machine.gpus[device] ?? machine.cpu

function rateOf(device: MachineDevice, type: string): Rate {
  const measured = device.rates.get(type) ?? middle([...device.rates.values()])
  if (measured) return measured
  const kind = kindOf(device)
  return {
    bytesPerSecond: reached.bandwidth * (device.bandwidth ?? usualBandwidth[kind]),
    flops: device.spec?.flops ? device.spec.flops * reached.flops : usualFlops[kind],
  }
}

const kindOf = ({ name }: MachineDevice): 'cpu' | 'gpu' => (name === 'CPU' ? 'cpu' : 'gpu')

/** A sentence for each device of whose speed nothing is known. */
export const assumptionsOf = ({ cpu, gpus }: Machine): string[] =>
  [...gpus, cpu]
    .filter(({ rates, bandwidth }) => rates.size === 0 && bandwidth === undefined)
    .map((device) => {
      const bandwidth = `${usualBandwidth[kindOf(device)] / 1e9} GB/s`
      return device === cpu
        ? `The processor's memory is assumed to reach ${bandwidth}, as two channels of DDR4-3200.`
        : `Nothing is known of the graphics card's speed, so ${bandwidth} are assumed; name it with --gpu.`
    })

/** For a type that the probe has not measured. */
function middle(rates: readonly Rate[]): Rate | undefined {
  if (rates.length === 0) return undefined
  return {
    bytesPerSecond: median(rates.map(({ bytesPerSecond }) => bytesPerSecond)),
    flops: median(rates.map(({ flops }) => flops)),
  }
}

function rateKinds({ weights }: TokenWork, machine: Machine): 'probe' | 'data sheet' | 'guess' {
  const kinds = weights.map(({ device }) => {
    const { rates, bandwidth } = deviceOf(machine, device)
    return rates.size > 0 ? 'probe' : bandwidth === undefined ? 'guess' : 'data sheet'
  })
  return kinds.includes('guess') ? 'guess' : kinds.includes('data sheet') ? 'data sheet' : 'probe'
}

/** @param ratios measured / estimated seconds of other files; one of them says less than many */
function range(seconds: number, ratios: readonly number[], spread: number): SpeedRange {
  const factor = ratios.length > 0 ? median(ratios) : 1
  const off = Math.max(1, ...ratios.map((ratio) => Math.max(ratio / factor, factor / ratio)))
  const width = ratios.length > 0 ? Math.max(spreads.bench, off) : spread
  const expected = 1 / (seconds * factor)
  return { low: expected / width, expected, high: expected * width }
}

/** Assumed of every draft. Nothing backs these figures: what a draft gains depends on the text, and only a measurement tells. */
export const draftDefaults = { accepted: 0.6, guesses: 4 } as const

/**
 * A round drafts `guesses` tokens and checks them with one pass; of guesses accepted with probability a each, (1 - a^(n+1)) /
 * (1 - a) tokens come out of it (Leviathan et al., Fast Inference from Transformers via Speculative Decoding, equation 1).
 */
function drafted(plain: SpeedRange, own: number, draft: Draft): SpeedRange {
  const { bytes, accepted, guesses } = { ...draftDefaults, ...draft }
  const share = Math.min(Math.max(accepted, 0), 0.999)
  const tokens = (1 - share ** (guesses + 1)) / (1 - share)
  const gain = tokens / (1 + (guesses * bytes) / own)
  return { low: plain.low * gain, expected: plain.expected * gain, high: plain.high * gain }
}

/** 4-bit floats have an own scale of an 8-bit float, and only some devices multiply them as they are. */
const isFp4 = (type: string): boolean => /FP4$/.test(type)

function slowTypes({ weights }: TokenWork, machine: Machine): string[] {
  const notes = new Set<string>()
  for (const { device, type } of weights) {
    const { spec, description } = deviceOf(machine, device)
    if (isFp4(type) && spec?.nvfp4Native === false)
      notes.add(
        `${description} has no units for ${type}: it is decoded before it is multiplied, so it reads prompts no faster than other 4-bit types.`,
      )
  }
  return [...notes]
}

const median = (values: readonly number[]): number => spreadOf(values).median
