/** Draft models: their memory is added, what they win is an assumption, and it counts only where asked. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { advise } from '../../src/advise/advise.js'
import { schemaProblem } from '../../src/advise/catalogue/catalogue.js'
import { adviceSchema } from '../../src/advise/schema.js'
import type { Advice } from '../../src/advise/types.js'
import { memoryModels } from '../support/memory-models.js'

const machine = { ramBytes: 32e9, gpu: 'RTX 3060', minSpeed: 0 }
const names = ['qwen3-8b']
const fileOf = ({ models: [{ files }] }: Advice, type: string) => files.find((file) => file.type === type)!

test('the memory of a draft is that of its weights, cache and buffers, on the card', async () => {
  const plain = await advise({ names, ...machine })
  const alone = await advise({ names: ['qwen3-0.6b'], ...machine })
  const both = await advise({ names, ...machine, draft: 'qwen3-0.6b' })
  expect(schemaProblem(JSON.parse(JSON.stringify(both)), adviceSchema)).toBeUndefined()
  const [before, own, now] = [fileOf(plain, 'Q4_K_M'), fileOf(alone, 'Q8_0'), fileOf(both, 'Q4_K_M')]
  expect(now.memory.vramBytes - before.memory.vramBytes).toBeCloseTo(own.memory.vramBytes, -3)
  expect(now.memory.ramBytes - before.memory.ramBytes).toBeCloseTo(own.memory.ramBytes, -3)
})

test('what it wins is told with its assumption, and changes neither speed nor pick', async () => {
  const plain = await advise({ names, ...machine })
  const both = await advise({ names, ...machine, draft: 'qwen3-0.6b' })
  const [before, now] = [fileOf(plain, 'Q4_K_M'), fileOf(both, 'Q4_K_M')]
  expect(now.speed.generate).toBeCloseTo(before.speed.generate, 6)
  expect(now.speed.drafted).toBeGreaterThan(now.speed.generate)
  expect(both.run.draft).toMatchObject({ accepted: 0.6, guesses: 4, counted: false })
  const [{ sentences, commands }] = both.models
  expect(sentences.join()).toMatch(/60 % of its guesses.*an assumption.*does not count here/)
  expect(commands.map(({ command }) => command).join()).toContain('-hfd ')
})

test('it counts for the least speed only where that is asked', async () => {
  const { speed } = fileOf(await advise({ names, ...machine, draft: 'qwen3-0.6b' }), 'Q4_K_M')
  const minSpeed = (speed.generate + (speed.drafted ?? 0)) / 2
  const asked = { names, ...machine, minSpeed, draft: 'qwen3-0.6b' }
  expect(fileOf(await advise(asked), 'Q4_K_M').lacks?.what).toBe('speed')
  const counted = fileOf(await advise({ ...asked, countDraft: true }), 'Q4_K_M')
  expect(counted.fits).toBe(true)
  expect(counted.speed.generate).toBeCloseTo(speed.generate, 6)
})

test('a draft of another vocabulary is not taken, and one that is nothing is refused', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'quench-'))
  try {
    const path = join(folder, 'draft.gguf')
    await memoryModels[0].write(path)
    const { models } = await advise({ names, ...machine, draft: path })
    expect(models[0].sentences.join()).toContain('draft.gguf has another vocabulary')
    expect(models[0].files[0].speed.drafted).toBeUndefined()
  } finally {
    await rm(folder, { recursive: true })
  }
  await expect(advise({ names, ...machine, draft: 'no-such' })).rejects.toThrow('--draft no-such')
  await expect(advise({ names, ...machine, countDraft: true })).rejects.toThrow('without --draft')
})
