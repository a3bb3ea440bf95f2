/** ggml's own quantizers and dequantizers, called directly, as the oracle of the tests of formats. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import koffi from 'koffi'
import type { Format } from '../../src/formats/format.js'

const platform = `${process.platform === 'darwin' ? 'mac' : process.platform}-${process.arch}`
const root = dirname(dirname(createRequire(import.meta.url).resolve(`@node-llama-cpp/${platform}`)))
const ggml = koffi.load(join(root, 'bins', platform, 'libggml-base.so'))

const quantizeChunk = ggml.func(
  'size_t ggml_quantize_chunk(int type, void *src, void *dst, int64_t start, int64_t rows, int64_t rowLength, void *importance)',
)

/** One row of weights to the bytes of a format, by ggml's reference quantizer. */
export function quantize(format: Format, weights: Float32Array): Uint8Array {
  const bytes = new Uint8Array((weights.length / format.blockSize) * format.blockBytes)
  const size = quantizeChunk(format.type, weights, bytes, 0, 1, weights.length, null)
  if (Number(size) !== bytes.length) throw new Error(`ggml wrote ${size} of ${bytes.length} bytes`)
  return bytes
}

/** Bytes of a format to weights, by ggml. */
export function dequantize(format: Format, bytes: Uint8Array): Float32Array {
  const weights = new Float32Array((bytes.length / format.blockBytes) * format.blockSize)
  const symbol = { F16: 'ggml_fp16_to_fp32_row', BF16: 'ggml_bf16_to_fp32_row' }[format.name]
  const name = symbol ?? `dequantize_row_${format.name.replace('Q', 'q')}`
  ggml.func(name, 'void', ['void *', 'void *', 'int64_t'])(bytes, weights, weights.length)
  return weights
}
