/** Types that a checkpoint can be converted to. */
import type { Checkpoint } from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import { type Format, formatNamed } from '../formats/index.js'
import { recipes } from '../formats/recipes.js'
import type { Quantization } from './quantization.js'

export const fileTypes: readonly string[] = ['F16', 'BF16', 'F32']

export interface TargetType {
  readonly format: Format
  readonly fileType: number
}

/**
 * What was asked for; else what holds all weights of a quantized checkpoint exactly; else the 16-bit type of the first matrix that has one,
 * and F16 for a checkpoint in F32.
 * @throws FileError for quantized weights that no type holds exactly, if none was asked for
 */
export async function typeOf(
  checkpoint: Checkpoint,
  quantization: Quantization,
  asked: string | undefined,
): Promise<TargetType> {
  const name = asked ?? (await exactType(checkpoint, quantization)) ?? storedType(checkpoint)
  return { format: formatNamed(name) as Format, fileType: recipes[name].fileType }
}

/** Significant bits of a value of each type, the smallest type first. */
const significantBits: readonly (readonly [name: string, bits: number])[] = [
  ['BF16', 8],
  ['F32', 24],
]

async function exactType(checkpoint: Checkpoint, quantization: Quantization): Promise<string | undefined> {
  const needed = await quantization.significantBits()
  if (needed === undefined) return undefined
  const exact = significantBits.find(([, bits]) => needed <= bits)
  if (exact) return exact[0]
  throw new FileError(
    checkpoint.folder,
    'has FP8 weights whose products with their scales do not fit even F32 exactly; name --type to accept rounding',
  )
}

function storedType({ tensors }: Checkpoint): string {
  for (const { shape, dtype } of tensors.values())
    if (shape.length >= 2 && (dtype === 'BF16' || dtype === 'F16')) return dtype
  return 'F16'
}
