/** `--device` as a person types it. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { quench, quenchWith, withoutProgress } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { missing } from '../support/webgpu.js'

let folder: string
let model: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-device-'))
  model = join(folder, 'tiny.gguf')
  await writeTinyGguf(model, { layers: 1, width: 32, heads: 2, feedForward: 32 })
})
afterAll(() => rm(folder, { recursive: true }))

const none = process.platform === 'linux' ? { VK_ICD_FILENAMES: join(tmpdir(), 'no-driver.json') } : {}
const small = ['--context', '64', '--batch', '64', '--tokens', '128', '--validation', '64', '--general', '1']
const training = (output: string, ...args: string[]) => [
  'train',
  model,
  '-t',
  'q4_0',
  '-o',
  output,
  ...small,
  '--calibration',
  '0',
  '--steps',
  '1',
  ...args,
]

const withoutGpu = /no GPU can be used: .*onnxruntime says: /

test.skipIf(process.platform !== 'linux')(
  'without a driver training says what is missing, and writes nothing',
  async () => {
    const output = join(folder, 'none.gguf')
    const ran = await quenchWith(none, ...training(output, '--device', 'webgpu'))
    expect(ran.code).toBe(1)
    expect(withoutProgress(ran.stderr)).toMatch(/^quench: no GPU can be used: [^\n]*libvulkan1[^\n]*\n?$/)
    expect(existsSync(output)).toBe(false)
    const doctor = await quenchWith(none, 'doctor', '--json')
    expect(JSON.parse(doctor.stdout).training).toEqual({ gpu: false, why: expect.stringMatching(withoutGpu) })
  },
)

test.skipIf(process.platform !== 'linux')(
  'without a driver `auto` takes the processor and says why',
  async () => {
    const ran = await quenchWith(
      none,
      ...training(join(folder, 'auto.gguf'), '--device', 'auto', '--dry-run'),
    )
    expect(ran).toMatchObject({ code: 0 })
    expect(ran.stdout).toMatch(/^ {2}device {5}the processor: no GPU can be used/m)
  },
)

test.skipIf(missing)('with a GPU', async () => {
  const doctor = await quench('doctor', '--json')
  expect(JSON.parse(doctor.stdout).training).toEqual({ gpu: true })
  const output = join(folder, 'out.gguf')
  const ran = await quench(...training(output, '--device', 'webgpu', '--device-memory', '1GB'))
  expect(withoutProgress(ran.stderr)).toBe('')
  expect(ran.stdout).toMatch(/^ {2}device {5}the GPU, up to [\d.]+ MB of its memory$/m)
  expect(ran.stdout).toMatch(/ 0 of them differ|training was no better/)
  expect(existsSync(output)).toBe(true)
})

test('what is no device is refused', async () => {
  const ran = await quench(...training(join(folder, 'no.gguf'), '--device', 'cuda'))
  expect(ran.code).toBe(2)
  expect(ran.stderr).toContain('cpu, webgpu, auto')
})
