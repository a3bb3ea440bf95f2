/**
 * What the search of `quench quantize --method search` leaves of weights, beside ggml's quantizer in the same bytes: the squared error
 * relative to the squares of the weights, and weights a second on one thread. Weights are Gaussian, or those of the matrices of a file
 * that the types' blocks fit.
 *
 *   npx tsx bench/search.ts [types, or all] [MODEL-f16.gguf] [weights in thousands = 256]
 */
import type { Codes, Format } from '../src/formats/format.js'
import { formats } from '../src/formats/table.js'
import { openGguf } from '../src/gguf/index.js'
import { quantizeRows } from '../src/llama/index.js'
import { readWeights } from '../src/models/weights.js'
import { searchCodes } from '../src/quantize/search/search.js'
import { weighErrors } from '../src/quantize/search/weighing.js'
import { Random } from '../src/random.js'

const [types = 'all', model, thousands = '256'] = process.argv.slice(2)
const size = 1024 * Number(thousands)
const columns = 256

/** Rows of 256 weights from the matrices of a file, as many of each as of the others. */
async function weightsOf(path: string): Promise<Float32Array> {
  const gguf = await openGguf(path)
  try {
    const matrices = gguf.tensors.filter(({ shape }) => shape.length === 2 && shape[0] % columns === 0)
    const share = Math.floor(size / matrices.length / columns) * columns
    const weights = new Float32Array(share * matrices.length)
    for (const [i, tensor] of matrices.entries()) {
      const own = await readWeights(gguf, tensor)
      weights.set(own.subarray(0, share), i * share)
    }
    return weights
  } finally {
    await gguf.close()
  }
}

function gaussian(): Float32Array {
  const random = new Random(1)
  return Float32Array.from({ length: size }, () => random.normal())
}

function errorOf(format: Format, codes: Codes, weights: Float32Array): number {
  const rounded = format.dequantize(codes)
  let [error, square] = [0, 0]
  for (const [i, w] of weights.entries()) {
    error += (rounded[i] - w) ** 2
    square += w * w
  }
  return error / square
}

const weights = model === undefined ? gaussian() : await weightsOf(model)
console.log(`${weights.length} weights${model === undefined ? ', Gaussian' : ` of ${model}`}`)
console.log('type      reference   search     share  weights/s')
for (const format of formats) {
  if (!format.grid || (types !== 'all' && !types.split(',').includes(format.name))) continue
  const start = format.decode(quantizeRows(format.type, weights, columns))
  const began = process.cpuUsage().user
  const codes = searchCodes(format, start, weights, weighErrors(weights, columns))
  const seconds = (process.cpuUsage().user - began) / 1e6
  const stored = format.decode(format.encode(codes))
  const [before, after] = [start, stored].map((own) => errorOf(format, own, weights))
  console.log(
    [
      format.name.padEnd(8),
      before.toPrecision(4).padStart(10),
      after.toPrecision(4).padStart(10),
      `${((100 * after) / before).toFixed(0)} %`.padStart(7),
      Math.round(weights.length / seconds)
        .toLocaleString('en')
        .padStart(10),
    ].join(' '),
  )
}
