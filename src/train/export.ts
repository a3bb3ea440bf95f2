/**
 * Writes a trained model. The bytes of a quantized tensor are the codes that the training graph itself gives, and every
 * tensor is checked before it is written: libggml's own dequantizer must turn the bytes into exactly the weights of the
 * last forward pass.
 */
import { QuenchError } from '../errors.js'
import { F32 } from '../formats/f32.js'
import { createGguf, type Gguf, type Metadata, type TensorInfo } from '../gguf/index.js'
import { dequantizeRows, quantizeRowsAsync } from '../llama/index.js'
import { readWeights } from '../models/weights.js'
import type { Parameter, ParameterPrograms } from './parameter.js'

/** What the check of an export has seen. */
export interface ExportCheck {
  /** Quantized tensors compared with libggml's dequantizer. */
  tensors: number
  /** Their weights. */
  weights: number
  /** Weights that differ in any bit; an export with one is refused, so this is 0. */
  differing: number
}

/** The bytes of a quantized parameter, compared with libggml. @throws QuenchError if a weight differs */
async function trainedBytes(
  p: Parameter,
  programs: ParameterPrograms,
  check: ExportCheck,
): Promise<Uint8Array> {
  if (!p.format) return F32.encode({ w: p.weights })
  const { weights, codes } = await programs.codes(p)
  const bytes = p.format.encode(codes)
  const written = dequantizeRows(p.format.type, bytes, weights.length)
  check.tensors++
  check.weights += weights.length
  for (let i = 0; i < weights.length; i++)
    if (!Object.is(written[i], weights[i]) || !Object.is(written[i], p.weights[i])) check.differing++
  if (check.differing > 0)
    throw new QuenchError(
      `${p.name}: ${check.differing} of ${weights.length} weights would not be read back as they were trained; nothing was written. This is a bug in quench`,
    )
  return bytes
}

/** Bytes of a tensor in another type, by ggml's own quantizer; the same bytes if the type is the same. */
async function convertedBytes(gguf: Gguf, tensor: TensorInfo, type: number): Promise<Uint8Array> {
  if (tensor.type === type) return gguf.read(tensor)
  return quantizeRowsAsync(type, await readWeights(gguf, tensor), tensor.shape[0])
}

/**
 * Writes `gguf` to `output` with the given metadata and a type for each tensor. Tensors that are among `parameters`
 * come from training, the others are converted by ggml's quantizer.
 */
export async function exportModel(
  gguf: Gguf,
  output: string,
  metadata: Metadata,
  types: ReadonlyMap<string, number>,
  parameters: readonly Parameter[],
  programs: ParameterPrograms,
): Promise<ExportCheck> {
  const trained = new Map(parameters.map((p) => [p.name, p]))
  const tensors = gguf.tensors.map((t) => ({
    name: t.name,
    shape: t.shape,
    type: types.get(t.name) ?? t.type,
  }))
  const check: ExportCheck = { tensors: 0, weights: 0, differing: 0 }
  const writer = await createGguf(output, { metadata, tensors })
  try {
    for (const [i, tensor] of gguf.tensors.entries()) {
      const parameter = trained.get(tensor.name)
      const bytes = parameter
        ? await trainedBytes(parameter, programs, check)
        : await convertedBytes(gguf, tensor, tensors[i].type)
      await writer.write(tensor.name, bytes)
    }
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
  return check
}
