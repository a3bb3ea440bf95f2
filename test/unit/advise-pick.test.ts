/**
 * The pick against exhaustive search, which is written without the picker: every file of a store of measurements, every number of
 * layers on the card, on machines of many sizes.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadCatalogue } from '../../src/advise/catalogue/catalogue.js'
import { ownMeasurements } from '../../src/advise/measurements/export.js'
import {
  type Footprint,
  type Limits,
  loadAfter,
  type Option,
  picksOf,
  placeOf,
} from '../../src/advise/pick.js'
import { fitCurve } from '../../src/advise/quality/curve.js'
import { lossesOf } from '../../src/advise/quality/loss.js'
import { curveRows } from '../../src/advise/quality/rows.js'
import type { LossFile } from '../../src/advise/quality/types.js'
import { Store } from '../../src/compare/store.js'
import { Random } from '../../src/random.js'

const layers = 24
const hashOf = (name: string) => createHash('sha256').update(name).digest('hex')

/** Bits per weight and measured loss; larger is not always better, and two lose the same. */
const measured: readonly (readonly [type: string, bits: number, kld: number])[] = [
  ...([
    ['Q8_0', 8.5, 0.0013],
    ['Q6_K', 6.6, 0.0055],
    ['Q5_K_M', 5.7, 0.0108],
    ['Q5_0', 5.6, 0.0222],
  ] as const),
  ...([
    ['Q4_1', 5.1, 0.0717],
    ['Q4_K_M', 4.9, 0.0313],
    ['Q4_K_S', 4.7, 0.0313],
    ['Q4_0', 4.64, 0.0719],
  ] as const),
  ...([
    ['IQ4_XS', 4.5, 0.0363],
    ['Q3_K_M', 4, 0.1019],
    ['Q2_K', 3.2, 0.4451],
    ['IQ2_M', 2.9, 0.326],
  ] as const),
]
const parameters = 8e9
const files = measured.map(([type, bits]) => {
  const bytes = Math.round((parameters * bits) / 8)
  return { type, bits, bytes, sha256: hashOf(type) }
})

/** The footprint of a file, dense: weights and cache move by layers. */
function footprint(bytes: number, context: number): Footprint {
  const [cache, compute] = [context * 131_072, 300e6]
  const load = (share: number) => ({
    ram: (1 - share) * (bytes + cache) + 2e8 + (share > 0 ? compute / 4 : compute),
    vram: share * (bytes + cache) + (share > 0 ? compute : 0),
    seconds: (bytes * share) / 300e9 + (bytes * (1 - share)) / 40e9,
    promptSeconds: 1e-3,
  })
  return { loads: [load(0), load(1)], steps: [layers], fixedVram: compute }
}

const limitsOf = (ram: number, vram: number, minSpeed: number, unified = false): Limits => ({
  ...{ ram, vram, minSpeed, unified },
})

let folder: string
let store: Store
let losses: Map<string, number>
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  store = await Store.open(join(folder, 'store.db'))
  const machine = { cpu: 'test', cores: 2 }
  for (const [i, { type, bits, bytes, sha256 }] of files.entries()) {
    const mean = { mean: measured[i][2], se: measured[i][2] / 50 }
    const inputs = { reference: hashOf('F16'), file: sha256, text: hashOf('text'), context: 512, machine }
    store.put('evaluate', inputs, {
      file: { type, bytes, bitsPerWeight: bits, kld: mean, top1: { mean: 0.9, se: 0.01 }, byDocument: [] },
      reference: { type: 'F16', bytes: 2 * parameters },
      ...{ windows: 32, tokens: 8192, warnings: [] },
    })
  }
  losses = await lossesOfStore()
})
afterAll(async () => {
  store.close()
  await rm(folder, { recursive: true })
})

/** Losses as the advisor takes them from the store. */
async function lossesOfStore(): Promise<Map<string, number>> {
  const catalogue = await loadCatalogue()
  const candidates = files.map(
    ({ type, bits, sha256 }): LossFile => ({
      ...{ id: type, sha256, type, bitsPerWeight: bits, trainedHere: false },
      model: { name: 'test', architecture: 'llama', parameters },
      qat: { qat: false, confidence: 'likely', because: 'a test' },
    }),
  )
  const curve = fitCurve(curveRows(catalogue))
  const found = lossesOf(candidates, { catalogue, curve, own: await ownMeasurements(store), imported: [] })
  for (const { kind } of found.values()) expect(kind).toBe('measured file')
  return new Map([...found].map(([id, { expected }]) => [id, expected]))
}

const options = (context: number): Option[] =>
  files.map(({ type, bytes }) => ({
    ...{ id: type, model: 'test', loss: losses.get(type) as number, bytes },
    footprint: footprint(bytes, context),
  }))

/** Straight from the rows of the store: no picker, no loss estimate. */
function exhaustive(context: number, ram: number, vram: number, minSpeed: number): string | undefined {
  const rows = store.list<{ file: { type: string; bytes: number; kld: { mean: number } } }>('evaluate')
  let best: { type: string; kld: number; bytes: number } | undefined
  for (const { value } of rows) {
    const { type, bytes, kld } = value.file
    const cache = context * 131_072
    let fits = false
    let fastest = 0
    for (let n = 0; n <= layers; n++) {
      const share = n / layers
      const onCard = n === 0 ? 0 : 300e6 + share * (bytes + cache)
      // Between the first and the last layer everything but the weights changes evenly too.
      const rest = 2e8 + 300e6 - share * 225e6
      const inMemory = (1 - share) * (bytes + cache) + rest
      if (onCard > vram || inMemory > ram) continue
      fits = true
      fastest = Math.max(fastest, 1 / ((bytes * share) / 300e9 + (bytes * (1 - share)) / 40e9))
    }
    if (!fits || fastest < minSpeed) continue
    const better =
      !best ||
      kld.mean < best.kld ||
      (kld.mean === best.kld && (bytes < best.bytes || (bytes === best.bytes && type < best.type)))
    if (better) best = { type, kld: kld.mean, bytes }
  }
  return best?.type
}

describe('the pick', () => {
  test('is what exhaustive search finds, in 200 scenarios', async () => {
    const random = new Random(7)
    const seen = new Map<string, number>()
    for (let i = 0; i < 200; i++) {
      const context = 1024 * 2 ** random.int(6)
      const ram = 1e9 * (1 + random.int(160) / 10)
      const vram = random.int(3) === 0 ? 0 : 1e9 * (random.int(120) / 10)
      const minSpeed = random.int(2) === 0 ? 0 : random.int(60)
      const [pick] = picksOf(options(context), limitsOf(ram, vram, minSpeed))
      const found = exhaustive(context, ram, vram, minSpeed)
      expect(pick.best, `${ram} ${vram} ${context} ${minSpeed}`).toBe(found)
      seen.set(found ?? 'none', (seen.get(found ?? 'none') ?? 0) + 1)
    }
    // Scenarios that all have one answer would show nothing.
    expect(seen.size).toBeGreaterThan(5)
  })

  test('the runner-up is the pick once the pick is gone; the next better one is what more memory buys', async () => {
    const all = options(4096)
    const limits = limitsOf(7.2e9, 0, 0)
    const [pick] = picksOf(all, limits)
    const [without] = picksOf(
      all.filter(({ id }) => id !== pick.best),
      limits,
    )
    expect(pick.runnerUp).toBe(without.best)
    expect(pick.next?.lacks).toBe('memory')
    const more = limitsOf(7.2e9 + (pick.next?.amount ?? 0) + 1, 0, 0)
    expect(picksOf(all, more)[0].best).toBe(pick.next?.id)
  })

  test('of equal losses it is the smaller file', async () => {
    const all = options(1024).filter(({ id }) => id.startsWith('Q4_K'))
    expect(picksOf(all, limitsOf(64e9, 0, 0))[0].best).toBe('Q4_K_S')
  })

  test('says what lacks least if nothing fits', async () => {
    const [pick] = picksOf(options(1024), limitsOf(2e9, 0, 0))
    expect(pick.best).toBeUndefined()
    expect(pick.closest).toMatchObject({ id: 'IQ2_M', lacks: 'memory' })
  })
})

describe('places', () => {
  test('of unified memory the sum counts', () => {
    const limits = limitsOf(7e9, 5e9, 0, true)
    const place = placeOf(footprint(4e9, 1024), limits)
    expect(place.ram + place.vram).toBeLessThanOrEqual(limits.ram)
    expect(place.moved).toBe(layers)
  })

  test('a load goes evenly from one end to the other', () => {
    const whole = footprint(4e9, 1024)
    expect(loadAfter(whole, 0)).toEqual(whole.loads[0])
    expect(loadAfter(whole, layers)).toEqual(whole.loads[1])
    const half = loadAfter(whole, layers / 2)
    expect(half.ram).toBeCloseTo((whole.loads[0].ram + whole.loads[1].ram) / 2, -3)
  })
})
