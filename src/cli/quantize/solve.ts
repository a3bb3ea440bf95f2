/**
 * `quench quantize --method solve`: the closed-form solution that training starts from, by itself. It is the run of `quench train` with
 * that stage alone, on as much text as the stage reads.
 */
import type { Option } from 'commander'
import { defaults } from '../../config/defaults.js'
import { blockwise } from '../../config/methods.js'
import type { TrainOptions } from '../../config/options.js'
import { optionEntries } from '../../config/table.js'
import { UsageError } from '../../errors.js'
import { flagOfKey } from '../options.js'
import { nameBeside, newName } from '../output-name.js'
import { trainOption, trainValues } from '../train/options.js'

/** What `--method` calls it. */
export const solving = 'solve'

/** Options of `train` that the stage has use for, besides types of tensors. */
const own = ['data', 'imatrix', 'calibration', 'memory', 'resume'] as const
/** Those that `quantize` has for other methods too. */
const common: readonly string[] = ['data', 'imatrix']
const types = optionEntries.flatMap(([name, { group }]) => (group === 'types' ? [name] : []))
const shared = ['method', 'type', 'output', 'tensorType', 'threads', 'dryRun', 'json', 'progress']

/** Those that `quantize` lacks otherwise. */
export const solveOptions = (): Option[] =>
  optionEntries.flatMap(([name, entry]) =>
    !common.includes(name) && own.some((each) => each === name) ? [trainOption(entry)] : [],
  )

type Typed = Readonly<Record<string, unknown>>

/** Whether the method is asked for. @throws UsageError for its options without it */
export function isSolved(options: Typed): boolean {
  if (options.method === solving) return true
  const unused = own.find((name) => !common.includes(name) && options[name] !== undefined)
  if (unused !== undefined)
    throw new UsageError(`--${unused} needs --method ${solving}; leave it out, or choose that method`)
  return false
}

/** @throws UsageError for options that do not go with the method, and as `train` does */
export async function solve(
  { name, input, beside }: { name: string; input: string; beside: string },
  { type, output }: { type: string; output?: string },
  options: Typed,
): Promise<void> {
  const known: readonly string[] = [...own, ...types, ...shared]
  const other = Object.keys(options).find((key) => !known.includes(key) && !isEmpty(options[key]))
  if (other !== undefined)
    throw new UsageError(`${flagOfKey(other)} does not go with --method ${solving}; leave one of them out`)
  const { method: _, ...rest } = options
  const given = await trainValues(rest)
  const calibration = given.calibration ?? defaults.calibration
  const values: Partial<TrainOptions> = { ...given, method: blockwise, tokens: calibration, calibration }
  const ending = `${type}-solved`
  const old = given.resume === true || options.dryRun === true
  const path = output ?? (old ? nameBeside : newName)(beside, ending)
  const flags = { json: options.json, dryRun: options.dryRun } as { json?: true; dryRun?: true }
  const { runTrain } = await import('../train/run.js')
  await runTrain({ name, input, output: path, type, values, ...flags })
}

const isEmpty = (value: unknown): boolean => Array.isArray(value) && value.length === 0
