/** Advice as a whole: the JSON follows its schema, the rules come out of the figures, and what cannot be known is said. */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { advise } from '../../src/advise/advise.js'
import { schemaProblem } from '../../src/advise/catalogue/catalogue.js'
import { adviceSchema } from '../../src/advise/schema.js'
import type { Advice, AdvisedFile } from '../../src/advise/types.js'
import { limitOf, writes } from '../../src/advise/words.js'
import { memoryModels, writeZeros } from '../support/memory-models.js'
import { stringValue, withMetadata } from '../support/with-metadata.js'

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
    { names: ['gemma-3-27b'], ramBytes: 16e9, gpu: ['RTX 3090', 'RTX 3060'] },
    { names: ['gemma-3-27b'], gpu: 'Apple M4', ramBytes: 32e9 },
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

  test('memory tight: which QAT at 2 to 3 bits, and how to make it', async () => {
    const { models } = await advise({ names: ['qwen3-14b'], ...cpu, ramBytes: 12e9 })
    expect(models[0].sentences.join('\n')).toMatch(/QAT is worth most at these bits: Q2_K fits/)
    expect(models[0].commands.map(({ command }) => command).join()).toContain(
      'quench train qwen3-14b-f16.gguf --type Q2_K',
    )
  })

  test('a least speed is not held against a file whose speed is a guess, and that is said', async () => {
    const machine = { ramBytes: 16e9, vramBytes: 0 }
    const asked = { names: ['qwen3-14b'], ...machine }
    const free = pickOf(await advise({ ...asked, minSpeed: 0 })) as AdvisedFile
    const minSpeed = Math.ceil(105 * free.speed.generate) / 100
    const soft = await advise({ ...asked, minSpeed })
    expect(pickOf(soft)).toMatchObject({ type: free.type, fits: true, speed: { basis: 'guess' } })
    expect(words(soft)).toContain(`less than the ${minSpeed} that are asked for, but may be enough`)
    const hard = await advise({ ...asked, minSpeed: Math.ceil(120 * free.speed.generate) / 100 })
    expect(pickOf(hard)?.type).not.toBe(free.type)
    expect([soft, hard].map(({ models: [model] }) => limitOf(model))).toEqual(['memory', 'speed'])
    // Of a card whose speed is known the limit holds.
    const known = { names: ['qwen3-14b'], ramBytes: 32e9, gpu: 'RTX 4090' }
    const fast = pickOf(await advise({ ...known, minSpeed: 0 })) as AdvisedFile
    const limited = await advise({ ...known, minSpeed: Math.ceil(fast.speed.generate + 0.5) })
    expect(pickOf(limited)?.type).not.toBe(fast.type)
  })

  test('a model is planned with no more context than it was trained for', async () => {
    const advice = await advise({ names: [shipped], ...cpu })
    expect(advice.run.context).toBe(8192)
    expect(words(advice)).toContain('with a context of 512 tokens')
    expect(words(advice)).toContain('trained for a context of 512 tokens, so it is planned with no more')
    expect(advice.models[0].commands[0].command).toContain(' -c 512')
    const { memory } = pickOf(advice) as AdvisedFile
    expect(memory).toEqual(pickOf(await advise({ names: [shipped], ...cpu, context: 512 }))?.memory)
  })

  test('a family in the spelling of Ollama is answered with its id', async () => {
    await expect(advise({ names: ['gemma3-4b'], ...cpu })).rejects.toThrow(
      'gemma3-4b is no file, folder, repository or family of the catalogue; did you mean gemma-3-4b?',
    )
  })

  test('a range of speeds that says nothing is not told', () => {
    const told = (interval: [number, number]) => writes({ generate: 11, prompt: 1, basis: 'bench', interval })
    expect(told([0.2, 794])).toMatch(/^how fast it writes is not known/)
    expect(told([5, 20])).toBe(
      'writes some 11 tokens a second (5.0 to 20, by files that were benchmarked here)',
    )
  })

  test('full precision at hand is not picked beside quantized files, and why is said', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'quench-'))
    try {
      const source = join(folder, 'source.gguf')
      await memoryModels[0].write(source)
      const small = await writeZeros(source, folder, 'Q4_0')
      const whole = await writeZeros(source, folder, 'F16')
      const advice = await advise({ names: [small, whole], ...cpu })
      expect(pickOf(advice)?.path).toBe(small)
      expect(words(advice)).toMatch(
        /fits too and loses nothing.* \d\.\d times the size, .*take it if nothing/,
      )
      expect(words(await advise({ names: [whole], ...cpu }))).not.toContain('fits too')
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test('a QAT checkpoint in Q6_K is a waste, and is not taken beside one in its own type', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'quench-'))
    try {
      const source = join(folder, 'source.gguf')
      await memoryModels[0].write(source)
      const named = join(folder, 'named.gguf')
      await withMetadata(source, named, { 'general.name': stringValue('model-qat-q4_0') })
      const made = async (type: string) => {
        const path = join(folder, `model-qat-q4_0-${type}.gguf`)
        await rename(await writeZeros(named, folder, type), path)
        return path
      }
      const [wasted, own] = [await made('Q6_K'), await made('Q4_0')]
      const alone = await advise({ names: [wasted], ...cpu })
      expect(words(alone)).toMatch(/made for Q4_0.*Q6_K stores the same model in 41 % more space/)
      const both = await advise({ names: [wasted, own], ...cpu })
      expect(pickOf(both)?.path).toBe(own)
      expect(words(both)).toMatch(/Q6_K\.gguf: It was made for Q4_0/)
    } finally {
      await rm(folder, { recursive: true })
    }
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

describe('machines', () => {
  test('several cards hold what none of them could, each as much as it has', async () => {
    const llama = { names: ['llama-3.3-70b'], ramBytes: 32e9, minSpeed: 0, gpu: 'RTX 3090' }
    const { machine, models } = await advise({ ...llama, vramBytes: [24e9, 24e9, 12e9] })
    expect(machine.gpu).toBe('3 x RTX 3090')
    expect(machine.devices).toHaveLength(4)
    const fitting = models[0].files.filter(({ fits, memory }) => fits && memory.gpuLayers === 81)
    expect(fitting.length).toBeGreaterThan(3)
    for (const { memory } of fitting) {
      expect(memory.cardBytes?.reduce((a, b) => a + b, 0)).toBe(memory.vramBytes)
      for (const [i, bytes] of (memory.cardBytes ?? []).entries())
        expect(bytes).toBeLessThanOrEqual(machine.devices[i + 1].usableBytes)
    }
    const onOne = await advise({ ...llama, vramBytes: 24e9 })
    expect(pickOf({ ...onOne, models })?.loss.expected).toBeLessThan(
      onOne.models[0].files.find(({ memory }) => memory.gpuLayers === 81)?.loss.expected ?? 9,
    )
  })

  test('unified memory counts once', async () => {
    const { machine, models } = await advise({
      names: ['gemma-3-12b'],
      gpu: 'Apple M4',
      ramBytes: 16e9,
      minSpeed: 0,
    })
    expect(machine.unified).toBe(true)
    for (const { fits, memory } of models[0].files)
      if (fits) expect(memory.ramBytes + memory.vramBytes).toBeLessThanOrEqual(machine.ramUsableBytes)
  })

  test('every kind of work sets its context and speed, and what is given counts', async () => {
    const on = async (purpose: 'chat' | 'agent' | 'code' | 'long-context', more = {}) =>
      (await advise({ names: ['gemma-3-4b'], ramBytes: 16e9, purpose, ...more })).run
    expect(await on('chat')).toMatchObject({ context: 8192, minSpeed: 8 })
    expect(await on('agent')).toMatchObject({ context: 32_768, minSpeed: 15 })
    expect(await on('code')).toMatchObject({ context: 16_384, minSpeed: 10 })
    expect(await on('long-context')).toMatchObject({ context: 65_536, minSpeed: 5 })
    expect(await on('agent', { context: 4096, minSpeed: 0 })).toMatchObject({ context: 4096, minSpeed: 0 })
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
    [{ names: ['gemma-3-4b'], gpu: 'RTX 4090', vramBytes: 0 }, /--vram 0 says.*--gpu names one/],
    [
      { names: ['gemma-3-4b'], gpu: ['RTX 4090', 'RTX 3060'], vramBytes: [1e9, 1e9, 1e9] },
      /2 cards.*3 sizes/,
    ],
    [{ names: ['gemma-3-4b'], gpu: ['Apple M4', 'Apple M4'] }, /shares the memory/],
    [{ names: ['gemma-3-4b'], gpu: Array(17).fill('RTX 4090') }, /at most 16/],
    [{ names: ['gemma-3-4b'], vramBytes: [8e9, 0] }, /no memory/],
    [{ names: ['gemma-3-4b'], gpu: 'M4' }, /similar: Apple M4/],
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
