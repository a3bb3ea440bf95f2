/** Hidden states in memory and on disk: the same values, and what does not change is written once. */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DeviceBuffer } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import {
  type HiddenStates,
  HiddenStatesInMemory,
  HiddenStatesOnDisk,
} from '../../src/blockwise/hidden-states.js'
import { device } from '../support/device.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'quench-hidden-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const values = (...of: number[]): DeviceBuffer => device(Float32Array.from(of))

describe.each<[name: string, make: () => HiddenStates]>([
  ['in memory', () => new HiddenStatesInMemory()],
  ['on disk', () => new HiddenStatesOnDisk(cpu, join(folder, 'same'), 'student')],
])('%s', (_name, make) => {
  test('holds what blocks give, batch by batch', async () => {
    const states = make()
    await states.set(0, { x: values(1, 2), sideInputs: new Map([['keys 0', values(3)]]) })
    await states.set(1, { x: values(4, 5), sideInputs: new Map() })
    const first = states.get(0)
    first.x = values(6, 7)
    expect(first.sideInputs.get('keys 0')).toEqual(values(3))
    first.sideInputs.set('keys 1', values(8, 9))
    await states.set(0, first)
    expect(states.count).toBe(2)
    const { x, sideInputs } = states.get(0)
    expect([x, sideInputs.get('keys 0'), sideInputs.get('keys 1')]).toEqual([
      values(6, 7),
      values(3),
      values(8, 9),
    ])
    expect(sideInputs.get('keys 2')).toBeUndefined()
    expect([states.get(1).x, states.get(1).sideInputs.get('keys 0')]).toEqual([values(4, 5), undefined])
    states.dispose()
  })
})

test('a side input is written once and read only when it is asked for', async () => {
  const own = join(folder, 'once')
  const states = new HiddenStatesOnDisk(cpu, own, 'teacher')
  await states.set(0, { x: values(1), sideInputs: new Map([['per layer', values(2, 3)]]) })
  const [side] = readdirSync(own).filter((name) => name.endsWith('.side'))
  const before = statSync(join(own, side), { bigint: true }).mtimeNs
  const taken = states.get(0)
  taken.x = values(4)
  rmSync(join(own, side)) // nothing reads it
  await states.set(0, taken)
  expect(existsSync(join(own, side))).toBe(false)
  expect(states.get(0).x).toEqual(values(4))
  writeFileSync(join(own, side), new Uint8Array(Float32Array.of(5, 6).buffer))
  expect(statSync(join(own, side), { bigint: true }).mtimeNs).not.toBe(before)
  expect(states.get(0).sideInputs.get('per layer')).toEqual(values(5, 6))
  states.dispose()
  expect(readdirSync(own)).toEqual([])
})

test('removes what a run that was killed has left, and nothing else', async () => {
  const own = join(folder, 'left')
  await new HiddenStatesOnDisk(cpu, own, 'student').set(0, {
    x: values(1),
    sideInputs: new Map([['a', values(2)]]),
  })
  writeFileSync(join(own, 'teacher-0.stream'), '')
  const states = new HiddenStatesOnDisk(cpu, own, 'student')
  expect(readdirSync(own)).toEqual(['teacher-0.stream'])
  expect(states.count).toBe(0)
})
