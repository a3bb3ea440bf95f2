export { describeLattice } from './describe.js'
export type { Lattice } from './detect.js'
export { detectLattices, type GridSummary, type LatticeReport, type TensorLattice } from './file.js'
export {
  type KeptLattices,
  keepBytes,
  keepCodes,
  keepLattices,
  type LatticePlan,
  lostWarnings,
  planLattices,
} from './keep.js'
