/** Rows on several threads: the same numbers as on one. */

import { Worker } from 'node:worker_threads'
import { describe, expect, it, vi } from 'vitest'
import { damp, factorize } from '../../src/blockwise/factor.js'
import { roundCompensated } from '../../src/blockwise/gptq.js'
import type { RoundPanel } from '../../src/blockwise/panels.js'
import { refine } from '../../src/blockwise/refine.js'
import { WorkerRows } from '../../src/blockwise/row-pool.js'
import { importanceCodes, searchedCodes } from '../../src/blockwise/start.js'
import { QuenchError } from '../../src/errors.js'
import type { Codes } from '../../src/formats/format.js'
import { gridOf } from '../../src/formats/grids.js'
import { integers } from '../../src/formats/levels.js'
import { Q2_0 } from '../../src/formats/types/q2_0.js'
import { Q2_K } from '../../src/formats/types/q2_k.js'
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
  const { grid } = Q2_K
  if (!grid) throw new Error('no grid')
  const results: unknown[] = []
  for (const threads of [1, 3]) {
    const pool = new WorkerRows(threads)
    const rounded = await roundCompensated(target, gridOf(grid, codes), factor, products, pool)
    const own = { ...structuredClone(codes), q: rounded.slice() }
    const start = Q2_K.dequantize(own)
    const optimum = await refine(own, grid, target, start, { inputs }, 2, products, pool)
    results.push({ rounded, own, optimum })
    await pool.dispose()
  }
  expect(results[1]).toEqual(results[0])
})

it('searches for scales with the same result, whatever the number of threads, and a better one than the reference', async () => {
  const [out, n] = [1100, 64]
  const random = new Random(5)
  const weights = Float32Array.from({ length: out * n }, () => random.normal())
  const importance = Float32Array.from({ length: n }, (_, i) => 1 + (i % 7))
  const errorOf = (found: Float32Array): number =>
    found.reduce((sum, w, i) => sum + importance[i % n] * (w - weights[i]) ** 2, 0)
  const results: Codes[] = []
  for (const threads of [1, 3]) {
    const pool = new WorkerRows(threads)
    results.push(await searchedCodes(Q2_0, weights, importance, pool))
    await pool.dispose()
  }
  expect(results[1]).toEqual(results[0])
  const reference = await importanceCodes(Q2_0, weights, importance)
  expect(errorOf(Q2_0.dequantize(results[0]))).toBeLessThan(0.3 * errorOf(Q2_0.dequantize(reference)))
})

describe('a thread that ends by itself', () => {
  const panelOf = (_row: number, rows: number): RoundPanel => ({
    kind: 'round',
    rows,
    width: 1,
    levels: integers(-8, 7),
    inverse: Float32Array.of(1),
    left: new Float32Array(rows),
    scales: new Float32Array(rows).fill(1),
    mins: undefined,
    groups: new Int32Array(1),
  })

  it('ends the work that it was asked for with a sentence, and another takes its place', async () => {
    const pool = new WorkerRows(2)
    let worker: Worker | undefined
    // It gets nothing to do, so that it cannot be done before it ends.
    const post = vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker) {
      worker = this
    })
    try {
      const work = pool.run(128, panelOf, () => {})
      const failed = work.catch((error: unknown) => error)
      await worker?.terminate()
      expect(await failed).toBeInstanceOf(QuenchError)
      await expect(work).rejects.toThrow(/^the thread that rounds rows of a matrix has ended before its work/)
    } finally {
      post.mockRestore()
    }
    const rows: number[] = []
    await pool.run(128, panelOf, (row) => rows.push(row))
    expect(rows.toSorted((a, b) => a - b)).toEqual([0, 64])
    await pool.dispose()
  })

  it('tells its error, and that of the rows of this thread without waiting for the others', async () => {
    const pool = new WorkerRows(2)
    // Levels that are none fail, in the thread and here.
    const wrong = (row: number, rows: number) =>
      ({ ...panelOf(row, rows), ...(row > 0 && { levels: undefined }) }) as unknown as RoundPanel
    await expect(pool.run(128, wrong, () => {})).rejects.toThrow(TypeError)
    const here = (row: number, rows: number) =>
      ({ ...panelOf(row, rows), ...(row === 0 && { levels: undefined }) }) as unknown as RoundPanel
    await expect(pool.run(128, here, () => {})).rejects.toThrow(TypeError)
    await pool.dispose()
  })
})
