/** Targets that no search can help with: what the input takes already, and what no types are small enough for. */
import { FileError } from '../errors.js'
import { humanBytes } from '../format.js'
import type { Gguf } from '../gguf/index.js'
import { summarizeFile } from '../gguf/summary.js'
import type { RoundedType } from './errors.js'

interface Target {
  readonly targetBytes?: number
  readonly targetBits?: number
  readonly imatrix?: string
}

/** @throws FileError for an input that takes no more than the target */
export async function checkNeeded(
  gguf: Gguf,
  parameters: number,
  { targetBytes, targetBits }: Target,
): Promise<void> {
  const bits = (8 * gguf.tensors.reduce((sum, { bytes }) => sum + bytes, 0)) / parameters
  if (targetBits !== undefined && bits <= targetBits)
    throw new FileError(
      gguf.path,
      `it takes ${bits.toFixed(3)} bits per weight, which is within --target-bits ${targetBits}; there is nothing to do`,
    )
  const { bytes } = await summarizeFile(gguf.path)
  if (targetBytes !== undefined && bytes <= targetBytes)
    throw new FileError(
      gguf.path,
      `it takes ${humanBytes(bytes)}, which is within --target-size ${compact(targetBytes)}; there is nothing to do`,
    )
}

/** What the smallest types take beyond the budget. */
export function leastOver(
  errors: ReadonlyMap<string, readonly RoundedType[]>,
  { budget, cost }: { readonly budget: number; readonly cost: (bytes: number) => number },
): number {
  const smallest = Array.from(errors.values(), (types) => Math.min(...types.map(({ bytes }) => cost(bytes))))
  return smallest.reduce((sum, bytes) => sum + bytes, -budget)
}

/** @param over bytes that the smallest types take beyond the target */
export function tooSmall(
  { targetBits, targetBytes = 0, imatrix }: Target,
  parameters: number,
  over: number,
): string {
  const more = imatrix === undefined ? ', or give --imatrix, which allows smaller types' : ''
  const takes = 'the least that types of its tensors take; ask for more'
  if (targetBits === undefined)
    return `--target-size ${compact(targetBytes)} is less than ${compact(targetBytes + over)} (${targetBytes + over} bytes), ${takes}${more}`
  const bits = Math.ceil(1000 * (targetBits + (8 * over) / parameters)) / 1000
  return `--target-bits ${targetBits} is less than ${bits}, ${takes}${more}`
}

/** As the option takes it: `4.1MB`. */
const compact = (bytes: number): string => humanBytes(bytes).replace(' ', '')
