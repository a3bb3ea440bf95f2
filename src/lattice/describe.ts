/** A grid in words. */
import type { Lattice } from './detect.js'

/** E.g. `levels -7 to 7 in groups of 32, step absmax/7, rounded to BF16`. */
export function describeLattice(lattice: Lattice): string {
  const { groupSize, wholeRows, levels, least, greatest, offset, step, clipped, stored } = lattice
  const grid = levels === 'E2M1' ? 'levels of E2M1' : `levels ${least} to ${greatest}`
  const groups = wholeRows ? `in rows of ${groupSize}` : `in groups of ${groupSize}`
  const offsets = { none: '', integer: ' and a zero point', real: ' and an offset' }
  return `${grid} ${groups}, step ${step}${offsets[offset]}${clipped ? ', clipped' : ''}, stored as ${stored}`
}
