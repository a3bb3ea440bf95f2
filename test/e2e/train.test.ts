/** `quench train` as a person types it: results, wrong input, SIGKILL and Ctrl-C. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Item, Plan } from '../../src/config/plan.js'
import { textKinds } from '../../src/data/shipped-texts.js'
import { openGguf } from '../../src/gguf/index.js'
import { Random } from '../../src/random.js'
import { changes, quench, quenchUntil } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, withMetadata } from '../support/with-metadata.js'

let folder: string
let model: string
/** With rows that K-quants divide. */
let wide: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  text = join(folder, 'text.txt')
  wide = join(folder, 'wide.gguf')
  await writeTinyGguf(model, { layers: 2, width: 64, feedForward: 64 })
  await writeTinyGguf(wide, { layers: 2, width: 256, feedForward: 256 })
  const random = new Random(5)
  const words = ['the', 'sea', 'and', 'the', 'state', 'of', 'an', 'ocean', 'in', 'her', 'hand', 'on', 'that']
  await writeFile(text, Array.from({ length: 3000 }, () => words[random.int(words.length)]).join(' '))
})
afterAll(() => rm(folder, { recursive: true }))

const settings = ['--context', '64', '--batch', '128', '--tokens', '2048', '--validation', '192']
const typed = (...args: string[]) => quench('train', ...args)

test('trains, says what was won, and leaves only the file', async () => {
  const output = join(folder, 'out.gguf')
  const { code, stdout, stderr } = await typed(
    wide,
    '-t',
    'q2_k',
    '-o',
    output,
    '-d',
    text,
    ...settings,
    '--calibration',
    '512',
    '--steps',
    '12',
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^plan: the whole model in memory/)
  expect(stdout).toMatch(/^text: 1\.02k tokens of general text, 1\.02k tokens of your text\n12 steps, /m)
  const kld = String.raw`[\d.e-]+ ± [\d.e-]+`
  expect(stdout).toMatch(
    new RegExp(
      `^KL divergence on validation text of other sources, nats per token: plain PTQ ${kld}\n {2}${kld} after blockwise, `,
      'm',
    ),
  )
  const [head, ...rows] = stdout.split('\n').filter((line) => /best PTQ {2}|%.* %$/.test(line))
  expect(head).toMatch(/PTQ +best PTQ +this file +recovered +better than best PTQ by/)
  const kinds = rows.map((row) => row.trim().split(' ')[0])
  expect(kinds.toSorted()).toEqual([...textKinds, 'your'].toSorted())
  expect(stdout).toContain('your text: a part of --data that was held out')
  const recovered = rows.map((row) => Number(/([\d.]+) % +-?[\d.]+ % ±/.exec(row)?.[1]))
  // The last one, your text, decides nothing.
  const worst = kinds[recovered.indexOf(Math.min(...recovered.slice(0, -1)))]
  expect(stdout).toMatch(
    new RegExp(`^recovers [\\d.]+ % ± [\\d.]+ % of plain PTQ's KL divergence, least on ${worst}$`, 'm'),
  )
  expect(stdout).toMatch(
    /weights of the file, 0 of them differ from what was trained\nto measure it: quench eval \S+ --reference \S+$/m,
  )
  expect((await readdir(folder)).filter((name) => name.includes('out.gguf'))).toEqual(['out.gguf'])
})

test('--json prints one document', async () => {
  const output = join(folder, 'json.gguf')
  const { code, stdout } = await typed(
    model,
    '-t',
    'Q4_0',
    '-o',
    output,
    '-d',
    text,
    ...settings,
    '--steps',
    '2',
    '--json',
  )
  expect(code).toBe(0)
  const report = JSON.parse(stdout)
  expect(report).toMatchObject({ path: output, type: 'Q4_0', steps: 2, tokens: 256 })
  expect(report.textTokens).toMatchObject({ files: 1024, general: 1024, selfWritten: 0 })
  expect(report.kinds.map(({ kind }: { kind: string }) => kind).toSorted()).toEqual(
    [...textKinds, 'your text'].toSorted(),
  )
  expect(textKinds).toContain(report.worst)
  expect(report.check.differing).toBe(0)
  expect(report.bytes).toBe((await readFile(output)).length)
})

test('--time sets the number of steps', async () => {
  const output = join(folder, 'time.gguf')
  const args = [model, '-t', 'Q4_0', '-o', output, '-d', text, ...settings, '--calibration', '512']
  const { code, stdout } = await typed(...args, '--method', 'distill', '--time', '2s', '--json')
  expect(code).toBe(0)
  const { steps, stages, validation } = JSON.parse(stdout)
  // Four steps are timed at least before their number is set, and the last one is validated.
  expect(steps).toBeGreaterThanOrEqual(4)
  expect(stages.map(({ stage }: { stage: string }) => stage)).toEqual(['blockwise', 'distill'])
  expect(validation.at(-1).step).toBe(steps)
})

test('--dry-run prints the plan item by item and writes nothing', async () => {
  const output = join(folder, 'dry.gguf')
  const args = [model, '-t', 'Q4_0', '-o', output, '-d', text, ...settings, '--steps', '2', '--dry-run']
  const { code, stdout, stderr } = await typed(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^plan: the whole model in memory/)
  for (const part of [
    'memory of blockwise',
    'time of blockwise',
    'memory of distill',
    'disk beside the output',
  ])
    expect(stdout).toContain(`\n${part}`)
  const { stages, diskBytes, disk } = JSON.parse((await typed(...args, '--json')).stdout) as Plan
  const total = (items: readonly Item[]): number => items.reduce((sum, { amount }) => sum + amount, 0)
  for (const { bytes, seconds, memory, work } of stages) {
    expect(Math.ceil(total(memory))).toBe(bytes)
    expect(total(work)).toBeCloseTo(seconds, 6)
  }
  expect(total(disk)).toBeCloseTo(diskBytes, 6)
  expect((await readdir(folder)).filter((name) => name.includes('dry'))).toEqual([])
  // What would refuse the run refuses its plan.
  expect(await typed(model, '-t', 'Q4_0', '-o', model, '--dry-run')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('would overwrite'),
  })
  expect(await typed(model, '-t', 'Q4_0', '-o', join(folder, 'none', 'x.gguf'), '--dry-run')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^quench: [^\n]*: its folder [^\n]*none does not exist; make it first\n$/),
  })
  expect(await typed(...args, '--resume')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^quench: [^\n]*resume[^\n]*\n$/),
  })
})

/** A run that saves every step. */
const saving = (output: string, ...more: string[]): string[] => [
  ...['train', model, '-t', 'Q4_0', '-o', output, '-d', text, ...settings],
  ...['--steps', '60', '--checkpoint-every', '0', ...more],
]

const blocksOf = (output: string): string[] => {
  const names = existsSync(`${output}.blocks`) ? readdirSync(`${output}.blocks`) : []
  return names.filter((name) => /^block-\d+\.gguf$/.test(name))
}
/** The checkpoint was written anew so often. */
const saved = (output: string, times: number) =>
  changes(times, () => String(statSync(`${output}.checkpoint`, { throwIfNoEntry: false })?.mtimeMs))

test('a run that is killed between blocks and steps goes on and ends with the same file', async () => {
  const whole = join(folder, 'whole.gguf')
  expect((await quench(...saving(whole))).code).toBe(0)
  const killed = join(folder, 'killed.gguf')
  const checkpoint = `${killed}.checkpoint`
  const kill = async (when: () => boolean, ...more: string[]) => {
    const { signal, stderr } = await quenchUntil({ name: 'SIGKILL', when }, ...saving(killed, ...more))
    expect({ signal, stderr }).toEqual({ signal: 'SIGKILL', stderr: '' })
    expect(existsSync(killed)).toBe(false)
  }
  do {
    // A busy machine may let it go on to its steps before it is looked at.
    for (const left of [checkpoint, `${killed}.blocks`]) await rm(left, { recursive: true, force: true })
    await kill(() => blocksOf(killed).length > 0)
  } while (existsSync(checkpoint))
  expect(blocksOf(killed)).toContain('block-0.gguf')
  const random = new Random(11)
  for (let i = 0; i < 3; i++) {
    await kill(saved(killed, 2 + random.int(6)), '--resume')
    expect(existsSync(checkpoint)).toBe(true)
  }
  const { code, stderr } = await quench(...saving(killed, '--resume'))
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect((await readFile(killed)).equals(await readFile(whole))).toBe(true)
  expect((await readdir(folder)).filter((name) => name.includes('killed'))).toEqual(['killed.gguf'])
}, 800_000)

test('Ctrl-C in a block and in a step stops there, keeps what was done and says how to go on', async () => {
  const output = join(folder, 'stopped.gguf')
  const stop = (when: () => boolean, ...more: string[]) =>
    quenchUntil({ name: 'SIGINT', when }, ...saving(output, '--steps', '100000', ...more))
  const left = async () =>
    (await readdir(folder)).filter((name) => name.includes('stopped') && !name.startsWith('.')).sort()

  let inBlock = await stop(() => blocksOf(output).length > 0)
  while (existsSync(`${output}.checkpoint`)) {
    for (const path of await left()) await rm(join(folder, path), { recursive: true })
    inBlock = await stop(() => blocksOf(output).length > 0)
  }
  expect(inBlock.code).toBe(130)
  expect(inBlock.stderr).toMatch(
    /^quench: stopping at [^\n]*\nquench: stopped in block 2 of 2; [^\n]*--resume[^\n]*\n$/,
  )
  expect(await left()).toEqual(['stopped.gguf.blocks'])

  const inStep = await stop(saved(output, 3), '--resume')
  expect(inStep.code).toBe(130)
  expect(inStep.stdout).toMatch(/^resuming after 1 finished block\nplan: /)
  const step = /^quench: stopping at [^\n]*\nquench: stopped after step (\d+); [^\n]*--resume[^\n]*\n$/.exec(
    inStep.stderr,
  )
  expect(Number(step?.[1])).toBeGreaterThanOrEqual(2)
  expect(await left()).toEqual(['stopped.gguf.blocks', 'stopped.gguf.checkpoint'])
  const checkpoint = await openGguf(`${output}.checkpoint`)
  const progress = JSON.parse(checkpoint.metadata.string('quench.progress'))
  await checkpoint.close()
  expect(progress).toMatchObject({ step: Number(step?.[1]), steps: 100_000 })
}, 800_000)

test.each([
  [['-o', 'x.gguf'], 2, /the type is missing; name it after the input, as in `quench train/],
  [['x.gguf', 'Q5K'], 2, /--type Q5K cannot be trained; did you mean Q5_K_M/],
  [['Q5K'], 2, /"Q5K" is not a file type; did you mean Q5_K_M/],
  [['-t', 'F16', '-o', 'x.gguf'], 2, /--type F16 cannot be trained; choose one of/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--steps', '-3'], 2, /--steps/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--steps', '3', '--time', '3s'], 2, /--time and --steps/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--time', 'soon'], 2, /90s, 10m or 1h30m/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--context', '9999'], 2, /--context 9999/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--colour'], 2, /--colour/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--general', '1.5'], 2, /--general/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--self-written', '0.75', '--general', '0.5'], 2, /more than the whole/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--self-written', '0.25', '--general', '0.5'], 2, /name it with --data/],
  [['-t', 'Q4_0', '-o', 'no-such-folder/x.gguf'], 1, /no-such-folder/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '-d', 'no-such-text.txt'], 1, /no-such-text\.txt/],
])('wrong use %j: one line and exit code %i', async (args, exit, line) => {
  const { code, stdout, stderr } = await typed(model, ...args)
  expect(stderr).toMatch(/^quench: [^\n]+\n$/)
  expect(stderr).toMatch(line)
  expect({ code, stdout }).toEqual({ code: exit, stdout: '' })
})

test('a damaged model and one of another architecture are refused in one line', async () => {
  const damaged = join(folder, 'damaged.gguf')
  await writeFile(damaged, (await readFile(model)).subarray(0, 5000))
  const first = await typed(damaged, '-t', 'Q4_0', '-o', join(folder, 'x.gguf'))
  expect(first.code).toBe(1)
  expect(first.stderr).toMatch(/^quench: .*damaged\.gguf[^\n]*\n$/)
  const other = join(folder, 'other.gguf')
  const bytes = await readFile(model)
  bytes.write('mamba', bytes.indexOf('llama', 40))
  await writeFile(other, bytes)
  const second = await typed(other, '-t', 'Q4_0', '-o', join(folder, 'x.gguf'))
  expect(second).toMatchObject({ code: 1, stdout: '' })
  expect(second.stderr).toMatch(/^quench: .*other\.gguf: [^\n]*mamba[^\n]*llama[^\n]*\n$/)
})

test('a chat template that fails: the model writes plain text, which is said', async () => {
  const path = join(folder, 'template.gguf')
  await withMetadata(model, path, {
    'tokenizer.chat_template': stringValue('{% for i in range(1000000000) %}x{% endfor %}'),
  })
  const { code, stderr } = await typed(
    ...[path, '-t', 'Q4_0', '-o', join(folder, 'plain.gguf'), '--context', '64', '--batch', '128'],
    ...['--tokens', '1024', '--calibration', '0', '--steps', '1'],
  )
  expect(code).toBe(0)
  expect(stderr).toMatch(
    /^quench: warning: .*template\.gguf: its chat template fails .*more than 100k numbers; the model writes plain text[^\n]*\n$/,
  )
})
