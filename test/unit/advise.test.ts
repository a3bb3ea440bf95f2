/** Advice as a whole: the JSON follows its schema, the rules come out of the figures, and what cannot be known is said. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { advise } from '../../src/advise/advise.js'
import { schemaProblem } from '../../src/advise/catalogue/catalogue.js'
import { adviceSchema } from '../../src/advise/schema.js'
import type { Advice, AdvisedFile } from '../../src/advise/types.js'

const shipped = fileURLToPath(new URL('../../models/quench-5m-f16.gguf', import.meta.url))
const pickOf = ({ models: [model] }: Advice): AdvisedFile | undefined =>
  model.files.find(({ id }) => id === model.pick)
const words = ({ models }: Advice): string => models.flatMap(({ sentences }) => sentences).join('\n')
const cpu = { ramBytes: 16e9, vramBytes: 0, minSpeed: 0 }

test('the JSON follows the exported schema', async () => {
  for (const options of [
    { names: ['gemma-3'], ramBytes: 16e9, vramBytes: 8e9 },
    { names: ['qwen3-30b-a3b'], ramBytes: 32e9, gpu: 'RTX 4090', purpose: 'agent' as const },
    { names: [shipped], ...cpu },
    { names: ['gemma-3-27b'], ...cpu, ramBytes: 2e9 },
  ])
    expect(schemaProblem(JSON.parse(JSON.stringify(await advise(options))), adviceSchema)).toBeUndefined()
})

describe('rules that people know', () => {
  test('QAT of the type fits, and nothing larger does: take it', async () => {
    const advice = await advise({ names: ['gemma-3-12b'], ...cpu, context: 32_768 })
    expect(pickOf(advice)).toMatchObject({ qat: { qat: true, suits: true } })
    expect(words(advice)).toContain('trained for')
  })

  test('no QAT: Q4_K_M or Q5_K_M', async () => {
    const advice = await advise({ names: ['qwen3-8b'], ...cpu, ramBytes: 11e9 })
    expect(['Q4_K_M', 'Q5_K_M']).toContain(pickOf(advice)?.type)
    expect(words(advice)).toContain('importance matrix')
    expect(advice.models[0].commands.map(({ command }) => command).join()).toContain('Qwen3-8B-GGUF')
  })

  test('memory left: six bits or more', async () => {
    const advice = await advise({ names: ['gemma-3-4b'], ...cpu, ramBytes: 32e9 })
    expect(pickOf(advice)?.bitsPerWeight).toBeGreaterThan(6)
    expect(words(advice)).toContain('memory left')
  })

  test('memory tight: 2 to 3 bits, and it says what is lost', async () => {
    const advice = await advise({ names: ['qwen3-14b'], ...cpu, ramBytes: 12e9 })
    expect(pickOf(advice)?.bitsPerWeight).toBeLessThan(3.6)
    expect(words(advice)).toContain('Memory is tight')
  })

  test('a cache type that harms the family', async () => {
    const run = { ramBytes: 64e9, vramBytes: 24e9, minSpeed: 0 }
    const harmed = await advise({
      names: ['gemma-4-31b'],
      ...run,
      cacheTypes: { keys: 'q8_0', values: 'q8_0' },
    })
    expect(words(harmed)).toContain('harms this family')
    const unharmed = await advise({
      names: ['qwen3.6-35b-a3b'],
      ...run,
      cacheTypes: { keys: 'q8_0', values: 'q8_0' },
    })
    expect(words(unharmed)).not.toContain('harms')
  })

  test('NVFP4 is fast from Blackwell on', async () => {
    const on = async (gpu: string) =>
      (await advise({ names: ['qwen3-8b'], ramBytes: 32e9, gpu })).notes.join()
    expect(await on('RTX 4090')).toContain('no matrix units for 4-bit floats')
    expect(await on('RTX 5090')).toContain('multiplies 4-bit floats')
  })
})

test('models are not ranked by their losses', async () => {
  const { models, notes } = await advise({ names: ['gemma-3'], ramBytes: 16e9, vramBytes: 8e9 })
  expect(models.length).toBe(5)
  const fitting = models.filter(({ pick }) => pick !== undefined).map(({ parameters }) => parameters)
  expect(fitting).toEqual(fitting.toSorted((a, b) => b - a))
  expect(notes.join()).toContain('nothing about which of several models is better')
})

describe('what cannot be known', () => {
  test.each([
    [{ names: ['no-such-model'] }, /no file, folder, repository or family/],
    [{ names: ['gemma-3-4b'], gpu: 'Voodoo 3' }, /no such card/],
    [{ names: ['gemma-3-4b'], ramBytes: 1e30 }, /--ram/],
    [{ names: ['gemma-3-4b'], context: 0 }, /context/],
    [{ names: ['gemma-3-4b'], context: 1e12 }, /context/],
    [{ names: ['gemma-3-4b'], minSpeed: Number.NaN }, /minSpeed/],
    [{ names: ['gemma-3-4b'], parallel: 1000 }, /parallel/],
  ])('%j is a sentence', async (options, expected) => {
    await expect(advise(options)).rejects.toThrow(expected)
  })

  test('an unknown card with its memory is a guess that says so', async () => {
    const { notes } = await advise({ names: ['gemma-3-4b'], ramBytes: 16e9, vramBytes: 8e9, gpu: 'RTX 9999' })
    expect(notes.join()).toMatch(/no card "RTX 9999".*guess/)
  })

  test('a damaged file is named, and the others are still compared', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'quench-'))
    try {
      const damaged = join(folder, 'damaged.gguf')
      await writeFile(damaged, 'GGUF and no more')
      await expect(advise({ names: [damaged], ...cpu })).rejects.toThrow(/damaged\.gguf/)
      const { failures, models } = await advise({ names: [damaged, shipped], ...cpu })
      expect(failures).toMatchObject([{ path: damaged }])
      expect(models).toHaveLength(1)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
