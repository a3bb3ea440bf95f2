/** Threads that stay: the same logits, and contexts that share a pool take turns. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LlamaContext, LlamaModel } from '../../src/llama/index.js'
import { ThreadPool } from '../../src/llama/threadpool.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: LlamaModel
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  await writeTinyGguf(join(folder, 'tiny.gguf'))
  model = await LlamaModel.load(join(folder, 'tiny.gguf'))
})
afterAll(async () => {
  model.dispose()
  await rm(folder, { recursive: true })
})

const open = (threads: number) => LlamaContext.create(model, { contextSize: 64, threads })

test('many decodes at once on one pool give what one thread gives', async () => {
  const tokens = Array.from({ length: 20 }, (_, i) => 7 * i)
  const single = await open(1)
  await single.decode(tokens, { logits: 'all' })
  const wanted = single.logits().slice()
  const contexts = await Promise.all([2, 2, 3].map(open))
  for (let i = 0; i < 5; i++) {
    await Promise.all(
      contexts.map(async (context) => {
        context.clear()
        await context.decode(tokens, { logits: 'all' })
      }),
    )
    for (const context of contexts) {
      const logits = context.logits()
      const worst = wanted.reduce((max, logit, j) => Math.max(max, Math.abs(logit - logits[j])), 0)
      expect(worst).toBeLessThan(1e-4)
    }
  }
  for (const context of [single, ...contexts]) context.dispose()
})

test('one pool for each number of threads, gone with its last holder; none for one thread', () => {
  expect(ThreadPool.acquire(1)).toBeUndefined()
  const [a, b, c] = [ThreadPool.acquire(2), ThreadPool.acquire(2), ThreadPool.acquire(3)]
  expect(a).toBeDefined()
  expect(b).toBe(a)
  expect(c).not.toBe(a)
  for (const pool of [a, b, c]) pool?.release()
  const anew = ThreadPool.acquire(2)
  expect(anew).not.toBe(a)
  anew?.release()
})

test('a failure does not hold up what comes after it', async () => {
  const pool = ThreadPool.acquire(2)
  const order: string[] = []
  const failing = pool?.run(async () => {
    order.push('first')
    throw new Error('no')
  })
  const next = pool?.run(async () => order.push('second'))
  await expect(failing).rejects.toThrow('no')
  await next
  expect(order).toEqual(['first', 'second'])
  pool?.release()
})
