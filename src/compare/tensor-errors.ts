/**
 * Error of each tensor of a file against its reference: ||w' - w|| / ||w||, with both read by libggml's own dequantizers, in
 * pieces, so that tensors of any size take little memory.
 */

import { setImmediate } from 'node:timers/promises'
import { withCleanup } from '../cleanup.js'
import { FileError } from '../errors.js'
import { type Gguf, ggmlTypes, openGguf, type TensorInfo } from '../gguf/index.js'
import { dequantizeRows } from '../llama/index.js'

export interface TensorError {
  readonly name: string
  /** ggml's name of the type in the file. */
  readonly type: string
  readonly weights: number
  readonly relativeError: number
}

/** Weights read at once; a multiple of every block size. */
const piece = 2 ** 18

/**
 * Errors of the tensors that are quantized in the file or differ from the reference, in the reference's order.
 * @throws FileError for a tensor of another shape, or with values that are not finite
 */
export function tensorErrors(reference: string, path: string): Promise<TensorError[]> {
  return withCleanup(async (defer) => {
    const base = await openGguf(reference)
    defer(() => base.close())
    const file = await openGguf(path)
    defer(() => file.close())
    const others = new Map(file.tensors.map((tensor) => [tensor.name, tensor]))
    const errors: TensorError[] = []
    for (const tensor of base.tensors) {
      const other = others.get(tensor.name)
      // Only matrices: norms and other vectors are copied.
      if (!other || tensor.shape.filter((length) => length > 1).length < 2) continue
      if (other.elements !== tensor.elements)
        throw new FileError(path, `tensor ${tensor.name} has another shape than in ${reference}`)
      const type = ggmlTypes.get(other.type)?.name ?? String(other.type)
      const relativeError = await errorOf(base, tensor, file, other)
      errors.push({ name: tensor.name, type, weights: tensor.elements, relativeError })
    }
    return errors
  })
}

async function errorOf(base: Gguf, a: TensorInfo, file: Gguf, b: TensorInfo): Promise<number> {
  let wrong = 0
  let all = 0
  for (let at = 0; at < a.elements; at += piece) {
    const count = Math.min(piece, a.elements - at)
    const [x, y] = [await weights(base, a, at, count), await weights(file, b, at, count)]
    for (let i = 0; i < count; i++) {
      wrong += (y[i] - x[i]) ** 2
      all += x[i] ** 2
    }
    await setImmediate()
  }
  // A damaged tensor may contain anything; JSON has no infinity.
  const error = Math.sqrt(wrong / all)
  return wrong === 0 ? 0 : Number.isFinite(error) ? error : Number.MAX_VALUE
}

async function weights(gguf: Gguf, tensor: TensorInfo, at: number, count: number): Promise<Float32Array> {
  const { blockSize, blockBytes } = ggmlTypes.get(tensor.type)!
  const bytes = await gguf.read(tensor, (at / blockSize) * blockBytes, (count / blockSize) * blockBytes)
  return dequantizeRows(tensor.type, bytes, count)
}
