/** The search beside ggml's quantizers: no block gets worse, whatever the weights, and threads change nothing. */
import { describe, expect, it, test } from 'vitest'
import { formats } from '../../src/formats/table.js'
import { quantizeRows } from '../../src/llama/index.js'
import { SearchThreads } from '../../src/quantize/search/rows.js'
import { searchCodes } from '../../src/quantize/search/search.js'
import { weighErrors } from '../../src/quantize/search/weighing.js'
import { Random } from '../../src/random.js'

const columns = 512
const random = new Random(5)
const kinds: Record<string, (i: number) => number> = {
  gaussian: () => 0.02 * random.normal(),
  'heavy-tailed': () => 0.01 * random.normal() ** 3,
  positive: () => 1 + 0.1 * random.normal(),
  'one outlier': (i) => (i % 256 === 7 ? 3 : 0.02 * random.normal()),
  sparse: (i) => (i % 9 === 0 ? random.normal() : 0),
  zeros: () => 0,
  tiny: () => 1e-7 * random.normal(),
}
const grids = formats.filter(({ grid }) => grid)

describe('no block has a larger error than the reference', () => {
  for (const [kind, weight] of Object.entries(kinds))
    test.each([false, true])(`${kind}, weighed: %s`, (weighed) => {
      const weights = Float32Array.from({ length: columns }, (_, i) => weight(i))
      const importance = Float32Array.from({ length: columns }, () => random.normal() ** 2)
      for (const format of grids) {
        const start = format.decode(
          quantizeRows(format.type, weights, columns, weighed ? importance : undefined),
        )
        const codes = searchCodes(format, start, weights, weighed ? importance : undefined)
        const [before, after] = [start, codes].map((own) => {
          const rounded = format.dequantize(own)
          const errors = new Float64Array(weights.length / format.blockSize)
          for (const [i, w] of weights.entries())
            errors[Math.floor(i / format.blockSize)] +=
              (weighed ? importance[i % columns] : 1) * (rounded[i] - w) ** 2
          return errors
        })
        // Importances are raised a little, so that none is 0.
        for (const [block, error] of after.entries())
          expect(error, format.name).toBeLessThanOrEqual(before[block] * (1 + 1e-4) + 1e-30)
        expect(format.dequantize(format.decode(format.encode(codes))), format.name).toEqual(
          format.dequantize(codes),
        )
      }
    })
})

it('gives the same bytes, whatever the number of threads', async () => {
  const weights = Float32Array.from({ length: 5 * columns }, () => random.normal())
  const [format] = grids.filter(({ grid }) => grid?.offset?.group)
  const results: Uint8Array[] = []
  for (const threads of [1, 3]) {
    const search = new SearchThreads(threads)
    results.push(await search.quantize(format.type, weights, columns))
    await search.dispose()
  }
  expect(results[1]).toEqual(results[0])
  const start = format.decode(quantizeRows(format.type, weights, columns))
  const alone = searchCodes(format, start, weights, weighErrors(weights, columns))
  expect(results[0]).toEqual(format.encode(alone))
})
