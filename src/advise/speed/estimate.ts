/**
 * Tokens per second. A token that is generated waits for memory: every weight it uses and the cache are read once. A prompt
 * waits for arithmetic: two operations for each weight and token. Rates are the probe's where it has run, else a share of
 * what data sheets promise; speeds that were measured on the machine correct both.
 */
import { spreadOf } from '../../speed/index.js'
import type { Machine, MachineDevice, Rate } from '../machine/machine.js'
import type { GgufHeader } from '../memory/types.js'
import type { Calibration, Placement, SpeedEstimate, SpeedRange } from './types.js'
import { type TokenWork, workOf } from './work.js'

/** Of a data sheet's bandwidth and operations; people measure 0.7 to 0.85 of memory. */
const reached = { bandwidth: 0.75, flops: 0.35 }
/** Two channels of DDR4-3200, and a desktop processor; a card in the middle of those of the last years. */
const usual = {
  cpu: { bytesPerSecond: reached.bandwidth * 51.2e9, flops: 0.3e12 },
  gpu: { bytesPerSecond: reached.bandwidth * 300e9, flops: 7e12 },
}
/** A layer on a graphics processor takes this long to start, however small it is. */
const gpuLayerSeconds = 20e-6
/** Half of the range around the expected value, as a factor. */
const spreads = { bench: 1.1, probe: 1.25, sheet: 1.5, guess: 2 }

/** @throws FileError for a damaged header, UsageError for a placement that says nothing */
export function estimateSpeed(
  header: GgufHeader,
  machine: Machine,
  placement: Placement = {},
  calibration: Calibration = { generate: [], prompt: [] },
): SpeedEstimate {
  const work = workOf(header, placement)
  const seconds = secondsOf(work, machine)
  const calibrated = calibration.generate.length > 0 && !machine.described
  const known = rateKinds(work, machine)
  const spread = known === 'probe' ? spreads.probe : known === 'data sheet' ? spreads.sheet : spreads.guess
  const generate = range(seconds.generate, calibrated ? calibration.generate : [], spread)
  const { draft } = placement
  return {
    prompt: range(seconds.prompt, calibrated ? calibration.prompt : [], spread),
    generate,
    ...(draft && { drafted: drafted(generate, work, draft) }),
    basis: calibrated ? 'bench of files on this machine' : known,
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
    const { rates, bandwidth } = deviceOf(machine, device)
    const fastest = Math.max(0, ...[...rates.values()].map(({ bytesPerSecond }) => bytesPerSecond))
    const sheet = (bandwidth ?? 0) * reached.bandwidth
    generate += bytes / (fastest || sheet || rateOf(deviceOf(machine, device), '').bytesPerSecond)
  }
  return { generate, prompt }
}

/** The processor takes the place of a graphics processor that the machine has not. */
const deviceOf = (machine: Machine, device: number): MachineDevice => machine.gpus[device] ?? machine.cpu

function rateOf(device: MachineDevice, type: string): Rate {
  const measured = device.rates.get(type) ?? middle([...device.rates.values()])
  if (measured) return measured
  const { spec } = device
  const fallback = spec || device.name !== 'CPU' ? usual.gpu : usual.cpu
  return {
    bytesPerSecond: device.bandwidth ? device.bandwidth * reached.bandwidth : fallback.bytesPerSecond,
    flops: spec?.flops.f16 ? spec.flops.f16 * reached.flops : fallback.flops,
  }
}

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

/**
 * A round drafts `guesses` tokens and checks them with one pass; of guesses accepted with probability a each, (1 - a^(n+1)) /
 * (1 - a) tokens come out of it (Leviathan et al., Fast Inference from Transformers via Speculative Decoding, equation 1).
 */
function drafted(
  plain: SpeedRange,
  { weights }: TokenWork,
  { bytes, accepted = 0.6, guesses = 4 }: NonNullable<Placement['draft']>,
): SpeedRange {
  const own = weights.reduce((sum, each) => sum + each.bytes, 0)
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
    if (isFp4(type) && spec && !spec.nvfp4Native)
      notes.add(
        `${description} has no units for ${type}: it is decoded before it is multiplied, so it reads prompts no faster than other 4-bit types.`,
      )
  }
  return [...notes]
}

const median = (values: readonly number[]): number => spreadOf(values).median
