/** The PTQ files of a comparison. */
import { needsMatrix, usesImportance } from '../quantize/needs-importance.js'

/** A PTQ file: a file type, made with or without an importance matrix. */
export interface Rung {
  readonly type: string
  readonly importance: boolean
}

/** File types that are compared by default, the largest first. */
const usualTypes = ['Q8_0', 'Q6_K', 'Q5_K_M', 'Q4_K_M', 'Q4_0', 'Q3_K_M', 'Q2_K']
/** Of the types with a codebook those that are compared by default; people make them with an importance matrix. */
const codebookTypes = ['IQ4_XS', 'IQ3_M', 'IQ3_XXS', 'IQ2_M']

/**
 * The files to make: each type plain, where that is possible, and with an importance matrix, where that makes a difference.
 * @param types default: those that people usually choose among
 * @param importance whether there is an importance matrix
 */
export function rungsOf(types: readonly string[] | undefined, importance: boolean): Rung[] {
  const rungs = (types ?? usualTypes).flatMap((type) => [
    ...(importance && needsMatrix(type) ? [] : [{ type, importance: false }]),
    ...(importance && usesImportance(type) ? [{ type, importance: true }] : []),
  ])
  if (types !== undefined || !importance) return rungs
  return [...rungs, ...codebookTypes.map((type) => ({ type, importance: true }))]
}

/** `Q4_0`, or `Q4_0 imatrix`. */
export const rungName = ({ type, importance }: Rung): string => (importance ? `${type} imatrix` : type)
