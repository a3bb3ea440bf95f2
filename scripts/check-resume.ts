/**
 * Interrupts `quench train` in many ways, resumes it with --resume each time, and compares the final file with that of an
 * uninterrupted run, byte for byte: SIGKILL at random moments of all stages, and a full disk. Both with the whole model in
 * memory and with one block at a time and hidden states on disk. Takes a few minutes.
 *
 *   npm run build && npx tsx scripts/check-resume.ts [kills = 20] [fills = 5] [seed = 1] [model.gguf]
 *
 * The model (Llama) is a tiny one of random weights unless one is named. The disk is a small tmpfs, mounted in a separate
 * namespace; this needs Linux and `unshare` (util-linux).
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openGguf } from '../src/gguf/index.js'
import { llama } from '../src/models/llama.js'
import { bytesOf } from '../src/plan/memory.js'
import { Random } from '../src/random.js'
import { writeTinyGguf } from '../test/support/tiny-gguf.js'

const diskBytes = 1 << 30
const [kills = 20, fills = 5, seed = 1] = process.argv.slice(2, 5).map(Number)
let input = process.argv[5]
const random = new Random(seed)
const sizes = { tokens: 2048, calibration: 1024, batch: 256, steps: 8 }
const settings = [
  '-t',
  'Q2_K',
  '--context',
  '64',
  ...Object.entries(sizes).flatMap(([k, v]) => [`--${k}`, `${v}`]),
]

interface Ended {
  readonly code: number | null
  readonly stderr: string
  readonly seconds: number
}

/** A moment of a run: a number of seconds after a file has appeared in its folder. */
interface Moment {
  readonly stage: string
  readonly reached: (folder: string) => boolean
  readonly seconds: number
}

const blocksIn = (folder: string): string[] => {
  const blocks = join(folder, 'out.gguf.blocks')
  return existsSync(blocks) ? readdirSync(blocks).filter((name) => /^[a-z]+(-\d+)?\.gguf$/.test(name)) : []
}
const has = (folder: string, name: RegExp): boolean => readdirSync(folder).some((each) => name.test(each))

/** Stages of a run that takes `length` seconds, each with a random moment within it. */
function moments(length: number, whole: boolean): Moment[] {
  const within = (share: number): number => share * length * random.uniform()
  const blocks = 1 + random.int(3)
  return [
    { stage: 'start and text', reached: () => true, seconds: within(0.4) },
    {
      stage: 'blocks',
      reached: (folder: string) => blocksIn(folder).length >= blocks || has(folder, /checkpoint$/),
      seconds: within(0.1),
    },
    { stage: 'steps', reached: (folder: string) => has(folder, /checkpoint$/), seconds: within(0.2) },
    { stage: 'export', reached: (folder: string) => has(folder, /^\.out\.gguf\.\d+\./), seconds: 0 },
  ].filter(({ stage }) => whole || stage !== 'steps')
}

/** Runs to the end unless `disturb`, called at a moment, prevents it. */
async function run(
  folder: string,
  more: readonly string[],
  moment?: Moment,
  disturb: (child: ChildProcess) => void = () => {},
): Promise<Ended> {
  const output = join(folder, 'out.gguf')
  const args = ['dist/cli/main.js', 'train', input, ...settings, ...more, '-o', output, '--resume', '--json']
  const env = { ...process.env, QUENCH_CACHE: join(folder, 'cache') }
  const began = performance.now()
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  let timer: NodeJS.Timeout | undefined
  const watch = setInterval(() => {
    if (!moment?.reached(folder)) return
    clearInterval(watch)
    timer = setTimeout(() => disturb(child), 1000 * moment.seconds)
  }, 2)
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  clearInterval(watch)
  clearTimeout(timer)
  return { code, stderr, seconds: (performance.now() - began) / 1000 }
}

/** Takes all free space. */
function fill(path: string): void {
  const file = openSync(path, 'w')
  try {
    for (let bytes = 1 << 20; bytes >= 4096; )
      try {
        writeSync(file, new Uint8Array(bytes))
      } catch {
        bytes >>= 1
      }
  } finally {
    closeSync(file)
  }
}

/** Checks that the file equals the uninterrupted run's and that nothing else is left; then removes both. */
async function compare(folder: string, whole: Buffer): Promise<void> {
  const file = await readFile(join(folder, 'out.gguf'))
  if (!file.equals(whole)) throw new Error('the file of the disturbed run differs')
  const left = readdirSync(folder).filter((name) => name !== 'cache')
  if (left.length !== 1) throw new Error(`left: ${left}`)
  await reset(folder)
}

async function reset(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder)
}

/** @param length duration of an uninterrupted run in seconds */
async function killed(folder: string, more: readonly string[], whole: Buffer, length: number): Promise<void> {
  let files = 0
  for (let done = 0, turn = 0; done < kills; turn++) {
    const all = moments(length, more.length === 0)
    const moment = all[turn % all.length]
    const { code, stderr } = await run(folder, more, moment, (child) => child.kill('SIGKILL'))
    if (code === null) console.log(`  killed in ${moment.stage} (${++done} of ${kills}): ${leftIn(folder)}`)
    else if (code === 0) {
      files++
      await compare(folder, whole)
    } else throw new Error(stderr)
  }
  const { code, stderr } = await run(folder, more)
  if (code !== 0) throw new Error(stderr)
  await compare(folder, whole)
  console.log(`  ${kills} kills, ${files + 1} files, each equal to the undisturbed one byte for byte`)
}

async function filled(folder: string, more: readonly string[], whole: Buffer, length: number): Promise<void> {
  const ballast = `${folder}.ballast`
  for (let i = 0, turn = 0; i < fills; turn++) {
    const all = moments(length, more.length === 0).slice(0, -1) // an export that has begun may complete
    const moment = all[turn % all.length]
    const { code, stderr } = await run(folder, more, moment, () => fill(ballast))
    rmSync(ballast, { force: true })
    if (code === 0) {
      await compare(folder, whole)
      continue
    }
    const said =
      /^quench: (.*): (?:the disk is full; make room, and the same command with --resume goes on from there|training needs about .* are free; make room or choose another folder)\n$/
    const path = said.exec(stderr)?.[1]
    if (code !== 1 || !path?.startsWith(folder)) throw new Error(`exit code ${code}: ${stderr}`)
    if (existsSync(join(folder, 'out.gguf'))) throw new Error('a file was left')
    console.log(
      `  full in ${moment.stage} (${++i} of ${fills}), at ${path.slice(folder.length + 1)}: ${leftIn(folder)}`,
    )
    const rest = await run(folder, more)
    if (rest.code !== 0) throw new Error(rest.stderr)
    console.log(`    went on for ${rest.seconds.toFixed(1)} s, equal byte for byte`)
    await compare(folder, whole)
  }
}

/** The state that a run resumes from. */
function leftIn(folder: string): string {
  if (has(folder, /checkpoint$/)) return 'a checkpoint'
  const blocks = blocksIn(folder).length
  if (blocks > 0) return `${blocks} blocks`
  return has(folder, /^out\.gguf$/) ? 'the file' : 'text at most'
}

/** The smallest memory limit in which a block fits and hidden states do not. */
async function littleMemory(): Promise<number> {
  const gguf = await openGguf(input)
  const model = { architecture: llama, config: await llama.read(gguf) }
  await gguf.close()
  const speeds = () => Promise.reject(new Error('not asked for'))
  const plan = {
    ...sizes,
    method: 'auto',
    memory: 0,
    validation: 7680,
    trial: 2560,
    seconds: undefined,
    speeds,
  } as const
  return Math.ceil(bytesOf('solving one block at a time', model, plan) / 1e6 + 1) * 1e6
}

async function check(disk: string): Promise<void> {
  if (!input) {
    input = join(disk, 'tiny.gguf')
    await writeTinyGguf(input, { layers: 4, width: 256, heads: 4, headsKV: 2, feedForward: 512 })
  }
  const little = ['--memory', `${(await littleMemory()) / 1e6}MB`, '--data', 'models/quench-5m.test.txt'] // writing text takes more
  for (const [name, more] of [
    ['whole model in memory', []],
    ['one block in memory, streams on disk', little],
  ] as const) {
    const folder = join(disk, 'run')
    await reset(folder)
    const { code, stderr, seconds } = await run(folder, more)
    if (code !== 0) throw new Error(stderr)
    console.log(`${name}: undisturbed ${seconds.toFixed(1)} s`)
    const whole = await readFile(join(folder, 'out.gguf'))
    await reset(folder)
    await killed(folder, more, whole, seconds)
    await filled(folder, more, whole, seconds)
  }
}

if (process.env.QUENCH_SMALL_DISK) {
  const disk = process.env.QUENCH_SMALL_DISK
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${diskBytes}`, 'tmpfs', disk], {
    stdio: 'inherit',
  })
  if (status !== 0) throw new Error(`no disk can be mounted at ${disk}`)
  await check(disk)
} else {
  const disk = await mkdtemp(join(tmpdir(), 'quench-disk-'))
  const env = { ...process.env, QUENCH_SMALL_DISK: disk }
  const again = [
    process.execPath,
    ...process.execArgv,
    fileURLToPath(import.meta.url),
    ...process.argv.slice(2),
  ]
  const { status, error } = spawnSync('unshare', ['-rm', ...again], { stdio: 'inherit', env })
  await rm(disk, { recursive: true, force: true })
  if (error) throw error
  process.exitCode = status ?? 1
}
