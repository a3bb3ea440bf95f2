/** `quench compare` as a person types it: on half of the shipped model, killed in every part, with files of which the truth is known. */
import { existsSync, statSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'libsql'
import { parseHTML } from 'linkedom'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Comparison } from '../../src/compare/comparison.js'
import { openGguf } from '../../src/gguf/index.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { expectedMarks } from '../support/comparison.js'
import { changes, quench, quenchUntil } from '../support/quench.js'
import { firstBlocks, stringValue, withMetadata } from '../support/with-metadata.js'

const shipped = (name: string) => fileURLToPath(new URL(`../../models/${name}`, import.meta.url))
const text = shipped('quench-5m.test.txt')

let folder: string
/** The first two blocks of the model that ships, and the first alone. */
let model: string
let block: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'quench-5m-f16.gguf')
  await firstBlocks(shipped('quench-5m-f16.gguf'), model, 2)
  await mkdir(join(folder, 'block'))
  block = join(folder, 'block', 'quench-5m-f16.gguf')
  await firstBlocks(model, block, 1)
})
afterAll(() => rm(folder, { recursive: true }))

/** A small comparison: 16 windows, two turns of speed. */
const small = (name: string, ...more: string[]) => smallOf(model, name, ...more)
const smallOf = (of: string, name: string, ...more: string[]) => [
  'compare',
  of,
  ...['--data', text, '--tokens', '2048', '-c', '128', '-r', '2', '-p', '32', '-n', '8', '--threads', '1'],
  ...['--folder', join(folder, `${name}-files`), '--store', join(folder, `${name}.db`)],
  ...more,
]

/** What is measured alike in every run: all but speed, memory and places. */
const figures = ({ files, pairs, verdict, model: { perplexity } }: Comparison) => ({
  perplexity,
  pairs,
  verdict: verdict.map((sentence) => sentence.replace(/\([\d.]+ [kMG]?B\)/g, '')),
  files: files.map(({ speed: _, path: __, neededBytes: ___, training, ...file }) => ({
    ...file,
    validation: training?.validation,
  })),
})

function measurements(store: string): Map<string, string> {
  const database = new Database(store)
  try {
    const rows = database.prepare('SELECT key, made, times FROM measurements').all() as {
      key: string
      made: string
      times: number
    }[]
    expect(rows.every(({ times }) => times === 1)).toBe(true)
    return new Map(rows.map(({ key, made }) => [key, made]))
  } finally {
    database.close()
  }
}

test('killed in every part of its work it goes on, ends with the same numbers and repeats no finished measurement', async () => {
  const training = ['--train', 'Q4_0', '--steps', '2', '--train-tokens', '2048']
  const args = ['--types', 'Q8_0,Q4_0', ...training, '--tokens', '1024', '--json']
  const whole = await quench(...smallOf(block, 'whole', ...args))
  expect({ code: whole.code, stderr: whole.stderr }).toEqual({ code: 0, stderr: '' })

  const store = join(folder, 'killed.db')
  const made = (name: string) => existsSync(join(folder, 'killed-files', name))
  const trained = 'quench-5m-Q4_0-QAT.gguf'
  /** So many measurements were kept, or more, after the change when the store is opened. */
  const kept = (count: number) =>
    changes(count + 1, () => {
      const { size, mtimeMs } = statSync(store)
      return `${size} ${mtimeMs}`
    })
  const moments: [part: string, reached: () => () => boolean][] = [
    ['making files', () => () => made('quench-5m-Q8_0.gguf')],
    ['solving blocks', () => () => made(`${trained}.blocks/block-0.gguf`)],
    ['training', () => () => made(`${trained}.checkpoint`)],
    ['evaluating', () => kept(2)],
    ['measuring', () => kept(3)],
  ]
  let known = new Map<string, string>()
  for (const [part, reached] of moments) {
    const signal = { name: 'SIGKILL', when: reached() } as const
    const ran = await quenchUntil(signal, ...smallOf(block, 'killed', ...args))
    expect([part, ran.signal, ran.stderr]).toEqual([part, 'SIGKILL', ''])
    const now = measurements(store)
    for (const [key, at] of known) expect(now.get(key)).toBe(at)
    known = now
  }
  expect(known.size).toBeGreaterThan(3)
  const resumed = await quench(...smallOf(block, 'killed', ...args))
  expect({ code: resumed.code, stderr: resumed.stderr }).toEqual({ code: 0, stderr: '' })
  const [a, b] = [whole, resumed].map(({ stdout }) => JSON.parse(stdout) as Comparison)
  expect(figures(b)).toEqual(figures(a))
  expect(b.store).toMatchObject({ measurements: a.store.measurements, repeated: 0 })
  for (const [key, at] of known) expect(measurements(store).get(key)).toBe(at)
}, 1_200_000)

/** The file with a matrix of which the scales have been doubled, as a defective download or converter leaves it. */
async function damage(from: string, to: string): Promise<void> {
  await copyFile(from, to)
  const gguf = await openGguf(from)
  const tensor = gguf.tensors.find(({ name }) => name === 'blk.1.ffn_down.weight')
  if (!tensor) throw new Error('no such tensor')
  const whole = await readFile(to)
  const at = whole.indexOf(await gguf.read(tensor))
  const blockBytes = (tensor.bytes * 32) / tensor.elements
  for (let block = 0; block < tensor.bytes; block += blockBytes) {
    const scale = whole.readUInt16LE(at + block)
    if ((scale & 0x7c00) !== 0) whole.writeUInt16LE(scale + 0x0400, at + block) // the exponent of f16
  }
  await gguf.close()
  await writeFile(to, whole)
}

test('equal weights tie, copies count once, a damaged one loses, a broken one is left out; report, table, Markdown', async () => {
  const [one, two, copy, damaged, broken] = ['one', 'two', 'copy', 'damaged', '<b>broken'].map((name) =>
    join(folder, `${name}.gguf`),
  )
  await quantizeFile(model, one, 'Q4_0')
  await withMetadata(one, two, { 'general.name': stringValue('two') })
  await copyFile(one, copy)
  await damage(one, damaged)
  await writeFile(broken, (await readFile(one)).subarray(0, 1_000_000))
  const report = join(folder, 'report.html')
  const wrong = await quench(...small('truth', one, broken, '--types', 'none'))
  expect(wrong).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^quench: .*<b>broken\.gguf: .*truncated.*\n$/),
    stdout: expect.stringContaining('left out: '),
  })
  const training = ['--train', 'Q2_K', '--steps', '1', '--train-tokens', '4096']
  const args = small('truth', one, two, damaged, '--types', 'Q8_0', ...training, '-o', report)
  const { code, stdout, stderr } = await quench(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^making Q8_0\nmaking Q2_K\nmaking Q2_K imatrix\ntraining at Q2_K\n/)
  expect(stdout).toMatch(/\n\* +Q8_0 +Q8_0 +\d\.\d\d MB/)
  expect(stdout).toMatch(/KL divergence.* against size/)
  expect(stdout).toMatch(/The report is in .*report\.html\n$/)

  const json = JSON.parse((await quench(...args, copy, '--json')).stdout) as Comparison
  expect(json.warnings).toContainEqual(
    expect.stringMatching(/copy\.gguf' has the same contents as .*one\.gguf'/),
  )
  expect(json.files.some(({ name }) => name === 'copy')).toBe(false)
  const pair = (x: string, y: string) =>
    json.pairs.find(({ a, b }) => (a === x && b === y) || (a === y && b === x))
  expect(pair('one', 'two')).toMatchObject({ difference: 0, p: 1, better: 'tie' })
  const loss = pair('one', 'damaged')
  expect(loss?.better).toBe(loss?.a === 'one' ? 'a' : 'b')
  expect(json.files.find(({ name }) => name === 'damaged')).toMatchObject({
    onFront: false,
    beatenBy: expect.arrayContaining(['one', 'two']),
  })
  const choice = json.verdict.find((sentence) => sentence.startsWith('Take'))
  expect(choice).toContain('Q8_0')
  expect(choice).not.toContain('damaged')
  const trained = json.files.find(({ name }) => name === 'Q2_K QAT')
  expect(trained?.recovered?.value).toBeGreaterThan(0)
  const opponents = json.files.filter(
    ({ method, bytes }) => method === 'ptq' && bytes <= 1.001 * (trained?.bytes ?? 0),
  )
  const best = opponents.reduce((a, b) => (b.kld.mean < a.kld.mean ? b : a))
  expect(trained?.recoveredOfBest?.opponent).toBe(best.name)
  expect(trained?.recoveredOfBest?.value).toBeCloseTo(1 - (trained?.kld.mean ?? 0) / best.kld.mean, 9)
  expect(trained?.effectiveBits?.value).toBeGreaterThan(trained?.bitsPerWeight ?? 99)
  expect(trained?.training?.validation).toHaveLength(2)
  // The damaged tensor sticks out of its file.
  const errors = json.files.find(({ name }) => name === 'damaged')?.tensorErrors ?? []
  expect([...errors].sort((a, b) => b.relativeError - a.relativeError)[0].name).toBe('blk.1.ffn_down.weight')

  const { document } = parseHTML(await readFile(report, 'utf8'))
  for (const [figure, marks] of Object.entries(expectedMarks(json)))
    for (const [kind, count] of Object.entries(marks))
      expect(document.querySelectorAll(`#${figure} svg .${kind} > *`).length).toBe(count)
  expect(document.querySelector('.verdict')?.textContent).toContain(json.verdict[0])
  expect((await quench(...args, '--markdown')).stdout).toMatch(
    /\n\| Q8\\_0 \| Q8\\_0 \| \d\.\d\d MB \| 8\.51 \|/,
  )
})

test('with few tokens it says that it cannot tell', async () => {
  const few = ['--types', 'Q6_K,Q5_K_M', '--tokens', '512', '-r', '0']
  const { code, stdout } = await quench(...small('few', ...few))
  expect(code).toBe(0)
  expect(stdout).toMatch(/This text is too short to rank (these|\d+) files/)
})

test('what is wrong is told in one line', async () => {
  const quantized = join(folder, 'quantized.gguf')
  await quantizeFile(model, quantized, 'Q4_0')
  const before = await readdir(folder)
  await writeFile(join(folder, 'no-store.db'), 'x'.repeat(4096))
  for (const [args, code, problem] of [
    [['compare', '--data', text], 2, /missing required argument 'model'/],
    [small('wrong', '--types', 'Q9_X'), 2, /the type Q9_X is unknown/],
    [small('wrong', '--types', 'none'), 2, /there is nothing to compare/],
    [small('wrong', '--memory', 'much'), 2, /--memory.*size such as 8GB/],
    [small('wrong', '--steps', '3', '--time', '5m'), 2, /exclude each other/],
    [
      small('wrong', '-o', join(folder, 'no', 'report.html')),
      1,
      /its folder .*no does not exist; make it first/,
    ],
    [
      small('wrong', '--store', join(folder, 'no-store.db')),
      1,
      /no-store\.db: this store of measurements is damaged/,
    ],
    [small('wrong', join(folder, 'none.gguf'), '--types', 'none'), 1, /none\.gguf: no such file/],
    [small('wrong', model, join(folder, 'none.gguf')), 1, /none\.gguf: no such file/],
    [smallOf(quantized, 'wrong'), 1, /it is quantized already \(Q4_0\).*the full-precision file first/],
    [['compare', model, '-f', text], 2, /--folder .*test\.txt is a file; .*--data/],
  ] as const) {
    const ran = await quench(...args)
    expect(ran.stderr).toMatch(/^quench: .+\n$/)
    expect(ran.stderr).toMatch(problem)
    expect(ran).toMatchObject({ code, stdout: '' })
  }
  const after = (await readdir(folder)).filter((name) => !/^(no-store|wrong)/.test(name))
  expect(after).toEqual(before)
})
