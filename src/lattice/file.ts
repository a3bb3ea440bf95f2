/** Which matrices of a file lie on a grid, and which type holds it; only some rows of each are read. */
import { emptyCodes } from '../formats/blocks.js'
import { formatOf } from '../formats/table.js'
import { isRounded } from '../formats/tensors.js'
import { type Gguf, openGguf, type TensorInfo } from '../gguf/index.js'
import { readWeights } from '../models/weights.js'
import { describeLattice } from './describe.js'
import { detectLattice, type Lattice, sampleOf } from './detect.js'
import { latticeFormats, placeOnGrid } from './place.js'

/** A matrix on a grid. */
export interface TensorLattice extends Lattice {
  readonly name: string
  readonly weights: number
  /** The smallest type that holds its codes; absent if there is none. */
  readonly type?: string
}

/** The matrices that lie on one kind of grid. */
export interface GridSummary {
  /** E.g. `levels -7 to 7 in groups of 32, step absmax/7, stored as BF16`. */
  readonly grid: string
  /** The smallest type that holds the codes; absent if there is none. */
  readonly type?: string
  readonly matrices: number
  readonly weights: number
}

export interface LatticeReport {
  /** Float matrices, which are the ones that can be quantized, and their weights. */
  readonly matrices: number
  readonly weights: number
  /** Those of most weights first. */
  readonly grids: readonly GridSummary[]
  readonly tensors: readonly TensorLattice[]
}

/** Looks for grids in the matrices of a GGUF file. @throws FileError for a file that is damaged */
export async function detectLattices(path: string): Promise<LatticeReport> {
  const gguf = await openGguf(path)
  try {
    return await detectIn(gguf)
  } finally {
    await gguf.close()
  }
}

async function detectIn(gguf: Gguf): Promise<LatticeReport> {
  const matrices = gguf.tensors.filter(isFloatMatrix)
  const tensors: TensorLattice[] = []
  for (const tensor of matrices) {
    const found = await latticeOf(gguf, tensor)
    if (!found) continue
    const { lattice, type } = found
    const named = { name: tensor.name, weights: tensor.elements }
    tensors.push({ ...named, ...lattice, ...(type !== undefined && { type }) })
  }
  const weights = matrices.reduce((sum, { elements }) => sum + elements, 0)
  return { matrices: matrices.length, weights, grids: summarize(tensors), tensors }
}

/** The grid of a float matrix, with the rows that say so and the smallest type that holds it; undefined if it lies on none. */
export async function latticeOf(
  gguf: Gguf,
  tensor: TensorInfo,
): Promise<{ lattice: Lattice; rows: Float32Array; type: string | undefined } | undefined> {
  const rows = isFloatMatrix(tensor) ? await readSample(gguf, tensor) : undefined
  const lattice = rows && detectLattice(rows, tensor.shape[0])
  return lattice && { lattice, rows, type: smallestHolder(rows, tensor.shape[0], lattice) }
}

/** Whether a tensor is a matrix, or a stack of them, that a quantizer rounds and that has not been quantized. */
const isFloatMatrix = (tensor: TensorInfo): boolean => {
  const format = formatOf(tensor.type)
  return format?.blockSize === 1 && isRounded(tensor)
}

function summarize(tensors: readonly TensorLattice[]): GridSummary[] {
  const grids = new Map<string, GridSummary>()
  for (const { type, weights, ...lattice } of tensors) {
    const grid = describeLattice(lattice)
    const known = grids.get(`${grid} ${type}`)
    grids.set(`${grid} ${type}`, {
      grid,
      ...(type !== undefined && { type }),
      matrices: (known?.matrices ?? 0) + 1,
      weights: (known?.weights ?? 0) + weights,
    })
  }
  return [...grids.values()].sort((a, b) => b.weights - a.weights)
}

/** Weights that are read of a matrix at most. */
const sampledWeights = 2 ** 20

/** Some rows of a matrix; undefined if they are too long for one. */
async function readSample(gguf: Gguf, tensor: TensorInfo): Promise<Float32Array | undefined> {
  const columns = tensor.shape[0]
  const rows = tensor.elements / columns
  const rowBytes = tensor.bytes / rows
  const picked = sampleOf(rows).slice(0, Math.floor(sampledWeights / columns))
  if (picked.length === 0) return undefined
  const sample = new Float32Array(picked.length * columns)
  for (const [i, row] of picked.entries())
    sample.set(await readWeights(gguf, tensor, row * rowBytes, rowBytes), i * columns)
  return sample
}

/** Groups without an exact place in a type that are not counted against it. */
const tolerated = 0.005

/** The smallest type whose codes can say the weights of a matrix that lies on a grid. */
export function smallestHolder(
  values: Float32Array,
  columns: number,
  { share }: Pick<Lattice, 'share'>,
): string | undefined {
  for (const format of latticeFormats) {
    if (columns % format.blockSize !== 0) continue
    const codes = emptyCodes(format, values.length / format.blockSize)
    if (placeOnGrid(format, values, codes, share - tolerated)) return format.name
  }
  return undefined
}
