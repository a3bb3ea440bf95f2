import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BlocksOnDisk } from '../../src/resume/blocks-on-disk.js'
import { loadCheckpoint, saveCheckpoint } from '../../src/resume/checkpoint.js'
import { stateLayout } from '../../src/resume/settings.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
})
afterAll(() => rm(folder, { recursive: true }))

const settings = { layout: stateLayout, type: 'Q4_0', steps: 3 }
const check = { tensors: 0, weights: 0, differing: 0 }

test.each([
  ['of an earlier layout', { ...settings, layout: stateLayout - 1 }, 'left by another version of quench'],
  ['without a layout', { type: 'Q4_0', steps: 3 }, 'left by another version of quench'],
  ['of other steps', { ...settings, steps: 4 }, '--steps 4, now --steps 3'],
])('state %s is refused, and what to delete is named', async (_, saved, reason) => {
  const path = join(folder, 'checkpoint.gguf')
  await saveCheckpoint(path, [], {}, saved)
  await expect(loadCheckpoint(path, [], settings)).rejects.toThrow(reason)
  await expect(loadCheckpoint(path, [], settings)).rejects.toThrow('delete it to start anew')

  const blocks = join(folder, 'blocks')
  const left = new BlocksOnDisk(blocks, saved)
  await left.reserveCodes('block-0', [])
  await left.saveCodes('block-0', [], check)
  const again = new BlocksOnDisk(blocks, settings)
  await expect(again.loadCodes('block-0', [])).rejects.toThrow(reason)
  await expect(again.loadCodes('block-0', [])).rejects.toThrow('delete its folder to start anew')
  await again.close()
})

test('state with the same settings is taken', async () => {
  const path = join(folder, 'same.gguf')
  await saveCheckpoint(path, [], { step: 2 }, settings)
  expect(await loadCheckpoint(path, [], settings)).toEqual({ step: 2 })
})
