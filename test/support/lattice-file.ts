/** Copies of a model whose blocks' matrices lie on a grid, as a checkpoint of quantization-aware training. */
import { formatNamed } from '../../src/formats/table.js'
import { createGguf, Metadata, openGguf } from '../../src/gguf/index.js'
import { readWeights, tensorScaleIn } from '../../src/models/weights.js'
import { type Convention, type OnGrid, onGrid, type Stored } from './lattice-conventions.js'

/** Writes `output`. @returns what each matrix on the grid was made of */
export async function writeOnGrid(
  model: string,
  output: string,
  convention: Convention,
  as: Stored,
): Promise<Map<string, OnGrid>> {
  const gguf = await openGguf(model)
  const made = new Map<string, OnGrid>()
  try {
    const format = formatNamed(as)!
    const isMatrix = (name: string, shape: readonly number[]) => name.startsWith('blk.') && shape.length > 1
    const writer = await createGguf(output, {
      metadata: new Metadata(output, gguf.metadata).set('general.file_type', {
        type: 'uint32',
        value: { F32: 0, F16: 1, BF16: 32 }[as],
      }),
      tensors: gguf.tensors.map(({ name, shape, type }) => ({
        name,
        shape,
        type: isMatrix(name, shape) ? format.type : type,
      })),
    })
    for (const tensor of gguf.tensors) {
      const { name, shape } = tensor
      if (!isMatrix(name, shape)) {
        await writer.write(name, await gguf.read(tensor))
        continue
      }
      const grid = onGrid(convention, await readWeights(gguf, tensor), shape[0], as)
      made.set(name, grid)
      await writer.write(name, format.encode({ w: grid.values }))
    }
    await writer.finish()
  } finally {
    await gguf.close()
  }
  return made
}

/** Codes of a quantized file that differ from those of the grids, and all of them. */
export async function differingIn(
  path: string,
  made: ReadonlyMap<string, OnGrid>,
  differing: (grid: OnGrid, weights: Float32Array) => number,
): Promise<{ differing: number; weights: number }> {
  const gguf = await openGguf(path)
  try {
    const sum = { differing: 0, weights: 0 }
    for (const [name, grid] of made) {
      const scale = tensorScaleIn(gguf, name) ?? 1
      const weights = await readWeights(gguf, gguf.tensor(name))
      sum.differing += differing(
        grid,
        weights.map((w) => w * scale),
      )
      sum.weights += grid.codes.length
    }
    return sum
  } finally {
    await gguf.close()
  }
}
