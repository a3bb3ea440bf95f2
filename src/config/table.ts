/**
 * The table of a run's options: the command line and the API check values against it, help is generated from it, and a resumed run
 * compares settings by it. A new option is a line in `TrainOptions`, which documents it for the API, an entry here, and its use.
 */

import { deviceNames } from '../backends/devices.js'
import { UsageError } from '../errors.js'
import {
  aboveZero,
  checkChoice,
  checkNumbers,
  checkOptionNames,
  fromZero,
  type OptionNames,
  share,
  whole,
} from '../option-checks.js'
import { defaults } from './defaults.js'
import type { OptionEntry } from './entry.js'
import { methods, methodsHelp } from './methods.js'
import type { TrainOptions } from './options.js'

const count = { takes: 'count', range: whole(0) } as const
const positiveCount = { takes: 'positive count', range: whole(1) } as const
const part = { takes: 'share', range: share } as const
const rate = { takes: 'rate', range: fromZero } as const
const typesOption = { group: 'types', same: true } as const
const typesFlag = { ...typesOption, takes: 'nothing' } as const
const oneType = { ...typesOption, takes: 'tensor type' } as const
const automatic = ['auto', 'yes', 'no'] as const

const table = {
  pure: {
    ...typesFlag,
    flags: '--pure',
    help: 'one type for all matrices instead of the mixture of the file type',
  },
  tensorTypes: {
    ...typesOption,
    flags: '--tensor-type <regex=type>',
    help: 'type of the tensors in whose names this is found, e.g. attn_v=q8_0; may be repeated, the first that is found decides',
    takes: 'tensor types',
  },
  outputTensorType: {
    ...oneType,
    flags: '--output-tensor-type <type>',
    help: 'tensor type of output.weight, e.g. Q8_0',
  },
  tokenEmbeddingType: {
    ...oneType,
    flags: '--token-embedding-type <type>',
    help: 'tensor type of the token embeddings, e.g. Q8_0',
  },
  leaveOutputTensor: {
    ...typesFlag,
    flags: '--leave-output-tensor',
    help: 'leave output.weight as it is',
  },
  data: {
    group: 'text',
    flags: '-d, --data <paths...>',
    help: 'your own training text, in addition to general text',
    takes: 'paths',
  },
  imatrix: {
    group: 'text',
    flags: '--imatrix <file>',
    help: 'importance matrix, of quench imatrix or llama-imatrix, that PTQ and the start of training use',
    takes: 'path',
    default: 'one collected from general text',
  },
  general: {
    ...part,
    group: 'text',
    flags: '--general <share>',
    help: 'share of the tokens from the general text that ships with quench, 0 to 1',
    default: 'half with --data, otherwise what the model does not write',
    same: true,
  },
  selfWritten: {
    ...part,
    group: 'text',
    flags: '--self-written <share>',
    help: 'share of the tokens that the model writes itself, 0 to 1',
    default: `0 with --data, else ${defaults.selfWritten}`,
    same: true,
  },
  validation: {
    ...positiveCount,
    group: 'text',
    flags: '--validation <n>',
    help: 'validation tokens of each kind of text',
    default: `${defaults.validation}`,
    same: true,
  },
  tokens: {
    ...positiveCount,
    group: 'text',
    flags: '--tokens <n>',
    help: 'size of the training set in tokens',
    default: `${defaults.tokens}, less if --time is short`,
    same: true,
  },
  steps: {
    ...count,
    group: 'size',
    flags: '--steps <n>',
    help: 'optimizer steps',
    default: `${defaults.steps}`,
    same: true,
  },
  seconds: {
    group: 'size',
    flags: '--time <time>',
    help: 'total time instead of --steps, e.g. 90s, 10m, 1h30m; the result then depends on the speed of the machine',
    takes: 'time',
    range: aboveZero,
    same: true,
  },
  resume: {
    group: 'run',
    flags: '--resume',
    help: 'resume an interrupted run; a finished one is left alone',
    takes: 'nothing',
  },
  context: {
    ...positiveCount,
    group: 'text',
    flags: '-c, --context <n>',
    help: 'window length in tokens',
    default: `${defaults.context}`,
  },
  method: {
    group: 'method',
    flags: '--method <method>',
    help: `what trains after the block-wise stage (${methodsHelp}); auto: the first that fits in memory and time`,
    takes: ['auto', ...methods],
    default: defaults.method,
  },
  embeddings: {
    group: 'method',
    flags: '--train-embeddings <choice>',
    help: 'whether embedding and output matrices train or are only quantized; auto: yes, unless the vocabulary is too large for it to pay off or to fit',
    takes: automatic,
    default: defaults.embeddings,
    same: true,
  },
  teacherTopK: {
    ...count,
    group: 'method',
    flags: '--teacher-top-k <n>',
    help: "train from the teacher's top-n tokens, computed once and cached on disk; 0: from all",
    default: '256 if that saves a fifth of the time',
  },
  memory: {
    group: 'size',
    flags: '--memory <size>',
    help: 'memory limit, e.g. 6GB',
    takes: 'bytes',
    range: aboveZero,
    default: "three quarters of the machine's or the container's",
  },
  device: {
    group: 'size',
    flags: '--device <device>',
    help: 'what computes: the processor (cpu), or a GPU with a driver of Vulkan, Metal or Direct3D 12 (webgpu); auto: whichever runs the first block faster',
    takes: [...deviceNames, 'auto'],
    default: defaults.device,
  },
  deviceMemory: {
    group: 'size',
    flags: '--device-memory <size>',
    help: 'limit of what training keeps on the GPU, e.g. 7GB',
    takes: 'bytes',
    range: aboveZero,
    default: 'none',
  },
  calibration: {
    ...count,
    group: 'size',
    flags: '--calibration <n>',
    help: 'tokens of the block-wise stage; 0: skip it',
    default: `${defaults.calibration}, less if --time is short`,
    same: true,
  },
  batch: {
    ...positiveCount,
    group: 'method',
    flags: '--batch <n>',
    help: 'tokens per step',
    default: `${defaults.batch}`,
  },
  weightRate: {
    ...rate,
    group: 'method',
    flags: '--weight-rate <x>',
    help: 'learning rate of weights, in quantization steps',
    default: `${defaults.weightRate}`,
    same: true,
  },
  scaleRate: {
    ...rate,
    group: 'method',
    flags: '--scale-rate <x>',
    help: 'learning rate of scales and norms, relative',
    default: `${defaults.scaleRate}`,
    same: true,
  },
  seed: {
    ...count,
    group: 'text',
    flags: '--seed <n>',
    help: 'seed of the generated text and the order of windows',
    default: `${defaults.seed}`,
    same: true,
  },
  checkpointEvery: {
    group: 'run',
    flags: '--checkpoint-every <time>',
    help: 'time between checkpoints, e.g. 90s or 10m; 0: after every step',
    takes: 'time or 0',
    range: { holds: (value) => value >= 0, text: 'a number from 0' },
    default: 'so that saving takes at most a twentieth of the time',
  },
} as const satisfies { readonly [Name in keyof TrainOptions]?: OptionEntry }

export type OptionName = keyof typeof table

/** In the order of the help. */
export const optionEntries: readonly (readonly [name: OptionName, entry: OptionEntry])[] = Object.entries(
  table,
) as [OptionName, OptionEntry][]

/** Every name of `TrainOptions`. */
const names: OptionNames<TrainOptions> = {
  ...(Object.fromEntries(optionEntries.map(([name]) => [name, true])) as Record<OptionName, true>),
  ...({ input: true, output: true, type: true, teacher: true, backend: true, signal: true } as const),
  ...({ onPlan: true, onWarning: true, onProgress: true, onBlock: true } as const),
}

/** @throws UsageError that names an option that does not exist or has an invalid value */
export function checkOptions(options: TrainOptions): void {
  checkOptionNames(options, names)
  const ranges = optionEntries.flatMap(([name, { range }]) => (range ? [[name, range]] : []))
  checkNumbers(options, Object.fromEntries(ranges))
  for (const [name, { takes }] of optionEntries)
    if (typeof takes === 'object') checkChoice(name, options[name], takes)
  if (options.steps !== undefined && options.seconds !== undefined)
    throw new UsageError('steps and seconds exclude each other; give one of them')
}

/**
 * How the command line writes an option of this name, and the unit of its number. A setting that is no option goes by its own name.
 */
export function flagOf(name: string): { readonly flag: string; readonly unit: string } {
  if (name === 'type' || name === 'threads') return { flag: `--${name}`, unit: '' }
  const entry: OptionEntry | undefined = optionEntries.find(([option]) => option === name)?.[1]
  const flag = entry && /--[a-z-]+/.exec(entry.flags)?.[0]
  return { flag: flag ?? name, unit: entry?.takes === 'time' ? 's' : '' }
}

type Shared = Readonly<Record<string, number | string | boolean | null>>

function presets({ seconds }: TrainOptions): Partial<Record<OptionName, unknown>> {
  const { steps, ...others } = defaults
  return { ...others, ...(seconds === undefined && { steps }) }
}

/** The options that a resumed run must share: the value given, the default, or null. */
export function sameOnResume(options: TrainOptions): Shared {
  const preset = presets(options)
  const given = (name: OptionName) => comparable(options[name] ?? preset[name])
  return Object.fromEntries(optionEntries.flatMap(([name, { same }]) => (same ? [[name, given(name)]] : [])))
}

/** Options with those of an earlier run where they were left out. @param saved the run's, of `sameOnResume` */
export function withShared(options: TrainOptions, saved: Shared): TrainOptions {
  const before = optionEntries.flatMap(([name, { same }]) => {
    const value = saved[name] ?? null
    if (!same || options[name] !== undefined || value === null || value === presets(options)[name]) return []
    if ((name === 'steps' || name === 'seconds') && (options.steps ?? options.seconds) !== undefined)
      return []
    return [[name, name === 'tensorTypes' ? rulesOf(String(value)) : value]]
  })
  return { ...options, ...Object.fromEntries(before) }
}

/** What `comparable` makes of rules, as rules. */
const rulesOf = (typed: string): { pattern: string; type: string }[] =>
  typed.split(' ').map((rule) => {
    const end = rule.lastIndexOf('=')
    return { pattern: rule.slice(0, end), type: rule.slice(end + 1) }
  })

/** Rules of tensor types as they are typed; what was left out and what was not asked for are alike. */
function comparable(value: unknown): string | number | boolean | null {
  if (!Array.isArray(value)) return value === false ? null : ((value ?? null) as string | number | null)
  const rules = value as NonNullable<TrainOptions['tensorTypes']>
  return rules.map(({ pattern, type }) => `${pattern}=${type}`).join(' ') || null
}
