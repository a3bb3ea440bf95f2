/** What flows between blocks is as wide as the plan counts it, side inputs included. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { onDevice } from '../../src/engine/device-weights.js'
import { Network } from '../../src/engine/network.js'
import { hiddenWidth } from '../../src/plan/memory.js'
import { openSource } from '../../src/student/source.js'
import { type TinyVariant, writeTinyVariant } from '../support/tiny-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-hidden-width-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const gemma4 = { slides: [true, false, true, true, false], perLayer: 32, shared: 3, keysAsValues: [1] }
const variants: Record<string, TinyVariant> = {
  llama: { architecture: 'llama' },
  'gemma4, an embedding for each layer and shared keys': {
    ...{ architecture: 'gemma4', layers: 5, tied: true, gemma4 },
    metadata: { 'attention.sliding_window': 16 },
  },
}

test.each(Object.keys(variants))('%s', async (name) => {
  const path = join(folder, `${name}.gguf`)
  await writeTinyVariant(path, { width: 64, feedForward: 128, ...variants[name] })
  const source = await openSource(path)
  const network = new Network(cpu, source.architecture, source.config, { windows: 2, length: 16 })
  const weights = onDevice(cpu, source.weights)
  const activations = await network.embed(new Int32Array(32).fill(1), weights)
  for (let layer = 0; layer < source.config.layers; layer++)
    activations.x = await network.block(layer, activations, weights)
  const held = [activations.x, ...activations.sideInputs.values()].reduce(
    (sum, { length }) => sum + length,
    0,
  )
  expect(held / network.tokens).toBe(hiddenWidth(source))
  expect(hiddenWidth(source) > source.config.width).toBe(name.startsWith('gemma4'))
  await network.dispose()
  await source.gguf.close()
})
