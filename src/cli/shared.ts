/** Options shared by several commands, so that a name has the same meaning everywhere. */
import { type Command, Option } from 'commander'
import { deviceNames } from '../backends/devices.js'
import { defaults } from '../config/defaults.js'
import { cacheType, gpuLayers, lengths, positiveInteger, threadCount } from './options.js'
import { progressModes } from './terminal/progress.js'

/** An option with a parser. @param shown the default as help describes it, if it is not a plain value */
export function valued<T>(
  flags: string,
  help: string,
  parse: (text: string) => T,
  preset?: { readonly value: T; readonly shown?: string },
): Option {
  const option = new Option(flags, help).argParser(parse)
  return preset ? option.default(preset.value, preset.shown) : option
}

export const threadsOption = (preset: string): Option =>
  valued('-t, --threads <n>', `number of threads (default: ${preset})`, threadCount)

export const contextOption = (help: string, preset?: number): Option =>
  valued('-c, --context <n>', help, positiveInteger, preset === undefined ? undefined : { value: preset })

export const gpuLayersOption = (): Option =>
  valued('--gpu-layers <n>', 'layers to put on a GPU, or all', gpuLayers, { value: 0 })

export const cacheTypeOptions = (): Option[] => [
  valued('--cache-type-k <type>', 'type of cached keys (default: f16)', cacheType),
  valued('--cache-type-v <type>', 'type of cached values (default: f16)', cacheType),
]

/** Options of speed tests. */
export const lengthOptions = (): Option[] => [
  valued('-p, --prompt <lengths>', 'prompt lengths to measure, e.g. 512,2048', lengths, one(512)),
  valued('-n, --generate <lengths>', 'numbers of tokens to generate', lengths, one(64)),
  valued('--depth <lengths>', 'context depths, e.g. 0,4096', lengths, one(0)),
]

const one = (length: number) => ({ value: [length], shown: String(length) })

/** What trains, for commands that train beside other work. */
export const deviceOption = (): Option =>
  new Option('--device <device>', 'what trains: cpu, webgpu (a GPU) or auto (the faster one)')
    .choices([...deviceNames, 'auto'])
    .default(defaults.device)

export const jsonOption = (): Option => new Option('--json', 'print one JSON document, also for errors')

/** Of commands that change what is not an output of theirs. */
export const yesOption = (): Option => new Option('--yes', 'do it; without this option it is only printed')

export const progressOption = (): Option =>
  new Option(
    '--progress <how>',
    'progress on standard error: auto (a live line on a terminal, otherwise lines), lines, jsonl or none',
  )
    .choices(progressModes)
    .default('auto')

/** Adds options under a heading of the help. */
export function group(command: Command, heading: string, options: readonly Option[]): void {
  for (const option of options) command.addOption(option.helpGroup(`${heading}:`))
}
