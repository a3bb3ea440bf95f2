/** The probe on a device whose seconds are counted: a program takes as many as its stream of tokens is long. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { Backend } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { onDevice } from '../../src/engine/device-weights.js'
import { Network } from '../../src/engine/network.js'
import { probeBlock } from '../../src/plan/probe.js'
import { openSource, targetTypes } from '../../src/student/source.js'
import { writeTrainingModels } from '../support/training-models.js'

vi.unmock('../../src/plan/probe.js')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-probe-'))
  await writeTrainingModels(folder)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Milliseconds. */
let clock = 0
beforeEach(() => {
  clock = 0
  vi.spyOn(performance, 'now').mockImplementation(() => clock)
})
afterEach(() => void vi.restoreAllMocks())

const batch = { windows: 4, length: 64 }
const tokens = batch.windows * batch.length

/** @returns what is probed, all seconds that it took, and the longest stream of tokens */
async function probed(secondsOfBatch: number, solves = true) {
  let longest = 0
  const backend: Backend = {
    ...cpu,
    async compile(graph, keepsMemory) {
      const program = await cpu.compile(graph, keepsMemory)
      const rows = graph.inputs.x?.shape[0] ?? 0
      return {
        dispose: () => program.dispose(),
        run: (values, into) => {
          longest = Math.max(longest, rows)
          clock += (1000 * secondsOfBatch * rows) / tokens
          return program.run(values, into)
        },
      }
    },
  }
  const source = await openSource(join(folder, 'llama.gguf'))
  const network = new Network(backend, source.architecture, source.config, batch)
  try {
    const teacher = onDevice(backend, source.weights)
    const types = targetTypes(source, { type: 'Q4_0' })
    const options = { solves, trial: 64, keeps: true, fisher: false }
    const seconds = await probeBlock(source, teacher, network, types, options)
    return { seconds, total: clock / 1000, longest }
  } finally {
    await network.dispose()
    await source.gguf.close()
  }
}

test('a fast device runs whole batches, and several of them for the Hessians', async () => {
  const { seconds, longest } = await probed(0.001)
  expect(seconds.forward).toBeCloseTo(0.001, 9)
  expect(longest).toBe(2048)
})

test.each([0.9, 4, 60])(
  '%d s for a batch: some passes suffice, and give the seconds of a batch',
  async (own) => {
    const fast = (await probed(0.001)).seconds
    const { seconds, total } = await probed(own)
    expect(seconds.forward).toBeCloseTo(own, 6)
    expect(seconds.rest).toBeCloseTo(own, 6)
    expect(seconds.moments / own).toBeCloseTo(fast.moments / 0.001, 6)
    // A window is a quarter of a batch.
    expect(total).toBeLessThan(40 + 10 * own)
  },
)

test('without a block-wise stage a pass is all that is timed', async () => {
  const { seconds, total } = await probed(4, false)
  expect(seconds).toEqual({
    ...{ forward: 4, prepare: 0, moments: 0, rest: 0, factors: 0, rounding: 0, compiling: 0 },
  })
  expect(total).toBeLessThan(8)
})
