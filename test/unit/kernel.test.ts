/** The kernels are assembled from their sources, and the sum of squares is one. */
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import wabt from 'wabt'
import { sumOfSquares } from '../../src/backends/cpu/kernel.js'
import { kernelWasm } from '../../src/backends/cpu/kernel-wasm.js'
import { descentWasm } from '../../src/blockwise/descent-wasm.js'
import { vectorsWasm } from '../../src/blockwise/vectors-wasm.js'
import { boundsWasm } from '../../src/quantize/search/bounds-wasm.js'
import { fitWasm } from '../../src/quantize/search/fit-wasm.js'

test.each([
  ['backends/cpu/kernel.wat', kernelWasm],
  ['blockwise/descent.wat', descentWasm],
  ['blockwise/vectors.wat', vectorsWasm],
  ['quantize/search/fit.wat', fitWasm],
  ['quantize/search/bounds.wat', boundsWasm],
])('%s is what is run', async (path, assembled) => {
  const { parseWat } = await wabt()
  const source = await readFile(new URL(`../../src/${path}`, import.meta.url), 'utf8')
  const { buffer } = parseWat(path, source, { simd: true }).toBinary({})
  expect(assembled).toBe(Buffer.from(buffer).toString('base64'))
})

test.each([1, 3, 4, 4096, 10_001])('the sum of %i squares is that of f64 numbers', (length) => {
  const values = Float32Array.from({ length }, (_, i) => Math.sin(i + 1) * 10 ** ((i % 7) - 3))
  const expected = values.reduce((sum, x) => sum + x ** 2, 0)
  expect(Math.abs(sumOfSquares(values) / expected - 1)).toBeLessThan(1e-12)
})
