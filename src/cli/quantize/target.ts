/** `quench quantize --target-size` and `--target-bits`: a type for every tensor, so that the file has a size. */
import { Option } from 'commander'
import type { AllocateEvent, Allocation } from '../../allocate/allocate.js'
import { UsageError } from '../../errors.js'
import { plural } from '../../format.js'
import { fileTypeNamed } from '../../gguf/file-types.js'
import type { QuantizeMethod } from '../../quantize/methods.js'
import { bytes, flagOfKey, positiveInteger, positiveNumber } from '../options.js'
import { nameBeside, newName } from '../output-name.js'
import { valued } from '../shared.js'
import { humanBytes, plain, table } from '../terminal/format.js'
import { print, printJson, printWarning } from '../terminal/print.js'
import { clearProgress, progressLine } from '../terminal/progress.js'
import { headed, type Line } from '../terminal/style.js'
import { solving } from './solve.js'

/** Options that need a target. */
export interface TargetOptions {
  targetSize?: number
  targetBits?: number
  trainable?: true
  data?: string[]
  tokens?: number
  candidates?: number
  store?: string
}

/** Options that a target shares with a type. */
interface SharedOptions {
  output?: string
  imatrix?: string
  method?: QuantizeMethod | typeof solving
  threads?: number
  dryRun?: true
  json?: true
}

export const targetOptions = (): Option[] => [
  valued('--target-size <size>', 'size of the file at most, e.g. 3.5GiB', bytes),
  valued('--target-bits <bits>', 'bits per weight at most, over all tensors, e.g. 4.25', positiveNumber),
  new Option('--trainable', 'take only types that quench train trains, so that it can go on from the file'),
  valued('--tokens <n>', 'tokens of text to measure candidates on (default: 8192)', positiveInteger),
  valued(
    '--candidates <n>',
    'whole files that are measured at most, once each tensor was measured alone (default: 64)',
    positiveInteger,
  ),
  new Option('--store <file>', 'database of measurements (default: in the cache folder)'),
]

const targets: readonly (keyof TargetOptions)[] = ['targetSize', 'targetBits']
const own = ['trainable', 'tokens', 'candidates', 'store'] as const
const shared: readonly string[] = [
  ...['data', 'output', 'imatrix', 'method', 'threads', 'dryRun', 'json', 'progress'],
]

/** @throws UsageError for options of a target without one */
export function hasTarget(options: TargetOptions): boolean {
  if (targets.some((key) => options[key] !== undefined)) return true
  const unused = own.find((key) => options[key] !== undefined)
  if (unused !== undefined)
    throw new UsageError(`--${unused} needs --target-size or --target-bits; leave it out, or name a size`)
  return false
}

/** @throws UsageError for arguments and options that do not go with a target */
export async function quantizeToTarget(
  { input, beside }: { input: string; beside: string },
  more: readonly string[],
  options: TargetOptions & SharedOptions,
): Promise<void> {
  const { targetSize, targetBits, output: named, dryRun, json } = options
  if (targetSize !== undefined && targetBits !== undefined)
    throw new UsageError('--target-size and --target-bits exclude each other; give one of them')
  const other = Object.keys(options).find(
    (key) => ![...targets, ...own, ...shared].some((name) => name === key),
  )
  if (other !== undefined)
    throw new UsageError(
      `${flagOfKey(other)} does not go with a target, which decides the types; leave one of them out`,
    )
  if (options.method === solving)
    throw new UsageError(
      `--method ${solving} needs a type; to solve for types of a size, write the file first and name it with --tensor-type-file`,
    )
  const type = more.find((word) => fileTypeNamed(word) !== undefined)
  if (type !== undefined)
    throw new UsageError(`${type} is a type, and a target decides the types; leave one of them out`)
  if (more.length > 1 || (more.length === 1 && named !== undefined))
    throw new UsageError(
      `"${more.at(-1)}" is one argument too many; with a target quantize takes INPUT [OUTPUT]`,
    )
  const ending = targetBits === undefined ? humanBytes(targetSize ?? 0).replace(' ', '') : `${targetBits}bits`
  const output = named ?? more[0] ?? (dryRun ? nameBeside : newName)(beside, ending)
  const { quantizeToSize } = await import('../../allocate/allocate.js')
  const given = [...own, 'data', 'imatrix', 'method', 'threads', 'dryRun'] as const
  const found = await quantizeToSize(input, output, {
    ...Object.fromEntries(given.flatMap((key) => (options[key] === undefined ? [] : [[key, options[key]]]))),
    ...(targetSize !== undefined && { targetBytes: targetSize }),
    ...(targetBits !== undefined && { targetBits }),
    onProgress: showProgress(),
  })
  clearProgress()
  found.warnings.forEach(printWarning)
  if (json) printJson(found)
  else print(describe(found, dryRun ?? false))
}

function showProgress(): (event: AllocateEvent) => void {
  const perMinute = (rate: number): string => `${(60 * rate).toFixed(1)}/min`
  const lines = {
    errors: progressLine('rounding rows to every type', perMinute, 'errors'),
    sensitivities: progressLine('measuring tensors', perMinute, 'sensitivities'),
    candidates: progressLine('measuring candidates', perMinute, 'candidates'),
    quantize: progressLine('quantizing', (rate) => `${humanBytes(rate)}/s`, 'quantize'),
  }
  return ({ stage, done, total }) => lines[stage](done, total)
}

function describe(
  { path, bytes, bitsPerWeight, firstKld, kld, measured, probed, tensors }: Allocation,
  dryRun: boolean,
): Line[] {
  const rows = tensors.map((tensor) => [
    plain(tensor.name),
    tensor.type,
    tensor.bitsPerWeight.toFixed(2),
    (100 * tensor.error).toPrecision(3),
    tensor.alone.toExponential(1),
    tensor.estimated === tensor.type ? '' : tensor.estimated,
  ])
  const header = ['tensor', 'type', 'bits/weight', 'error %', 'KLD alone', 'by estimates']
  return [
    ...headed(table([header, ...rows], new Set([2, 3, 4]))),
    '',
    'error %: squared error of the weights by importance; KLD alone: estimate if only this tensor were rounded;',
    'by estimates: the type that these figures alone gave it, before whole files were measured',
    '',
    `${plain(path, 1000)}: ${humanBytes(bytes)} (${bytes} bytes), ${bitsPerWeight.toFixed(3)} bits per weight${dryRun ? '; nothing was written' : ''}`,
    `KL divergence on the text of the search: ${kld.toFixed(5)} nats per token, ${firstKld.toFixed(5)} by estimates alone`,
    `measured now: ${plural(measured, 'whole file')}, and ${plural(probed, 'file')} in which one tensor alone, or a few, were rounded, to see how much each matters`,
  ]
}
