/** Rows on several threads: the same numbers as on one. */
import { expect, it } from 'vitest'
import { gridOf } from '../../src/formats/grids.js'
import { Q2_K } from '../../src/formats/q2_k.js'
import { damp, factorize } from '../../src/quantize/factor.js'
import { roundCompensated } from '../../src/quantize/gptq.js'
import { refine } from '../../src/quantize/refine.js'
import { WorkerRows } from '../../src/quantize/row-pool.js'
import { Random } from '../../src/random.js'
import { products } from '../support/products.js'

it('rounds and refines to the same result, whatever the number of threads', async () => {
  const [out, n] = [200, 512]
  const random = new Random(4)
  const normal = (length: number): Float32Array => Float32Array.from({ length }, () => random.normal())
  const x = normal(32 * n)
  const inputs = damp(await products.multiply(x, x, [n, 32, n], { transA: true }), 0.1)
  const factor = await factorize(inputs, products)
  const target = normal(out * n)
  const blocks = target.length / Q2_K.blockSize
  const codes = {
    d: new Float32Array(blocks).fill(1 / 8),
    dmin: new Float32Array(blocks).fill(1 / 4),
    scales: new Float32Array(blocks * 16).fill(8),
    mins: new Float32Array(blocks * 16).fill(6),
    q: new Float32Array(target.length),
  }
  const { uniform } = Q2_K
  if (!uniform) throw new Error('no grid')
  const results: unknown[] = []
  for (const threads of [1, 3]) {
    const pool = new WorkerRows(threads)
    const rounded = await roundCompensated(target, gridOf(uniform, codes), factor, products, pool)
    const own = { ...codes, scales: codes.scales.slice(), mins: codes.mins.slice(), q: rounded.q.slice() }
    const start = Q2_K.dequantize(own)
    const optimum = await refine(own, uniform, target, start, { inputs }, 2, products, pool)
    results.push({ rounded, own, optimum })
    await pool.dispose()
  }
  expect(results[1]).toEqual(results[0])
})
