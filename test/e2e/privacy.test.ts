/** Nothing phones home: no command asks for an internet socket, or writes anything but its outputs and quench's cache. */
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rungName, rungsOf } from '../../src/compare/ladder.js'
import { writeCheckpoint } from '../support/checkpoints.js'
import { compiled } from '../support/compiled.js'
import { byteLevelBpe } from '../support/tokenizer-files.js'
import { firstBlocks } from '../support/with-metadata.js'

const inRepository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const noNetwork = inRepository('test/support/no-network.mjs')
const demoThread = inRepository('test/support/demo-thread.mjs')

/** What seccomp(2) filters are written for in no-network.mjs. */
const filtered = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch)
const skipped = filtered
  ? ''
  : ` (skipped: needs seccomp of Linux on x64 or arm64, this is ${process.platform} ${process.arch})`

let root: string
beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'quench-')))
  for (const folder of ['home', 'tmp', 'config', 'data', 'state', 'other-cache', 'cache', 'work'])
    await mkdir(join(root, folder))
})
afterAll(() => rm(root, { recursive: true }))

interface Ran {
  readonly code: number | string | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

/** Node without a network, in the folder `work`, with nothing of the user's environment but the path. */
function node(...args: string[]): Promise<Ran> {
  const env = {
    PATH: process.env.PATH,
    HOME: join(root, 'home'),
    TMPDIR: join(root, 'tmp'),
    XDG_CONFIG_HOME: join(root, 'config'),
    XDG_DATA_HOME: join(root, 'data'),
    XDG_STATE_HOME: join(root, 'state'),
    XDG_CACHE_HOME: join(root, 'other-cache'),
    QUENCH_CACHE: join(root, 'cache'),
  }
  const options = { cwd: join(root, 'work'), env, maxBuffer: 1 << 26 }
  return new Promise((resolve) => {
    execFile(process.execPath, ['--import', noNetwork, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? null) : 0, signal: error?.signal ?? null, stdout, stderr })
    })
  })
}

const quench = (...args: string[]) => node(compiled('cli/main.js'), ...args)

/** Every file below the test's folders. */
async function files(): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
}

test.runIf(filtered)(`the filter kills whatever asks for an internet socket${skipped}`, async () => {
  for (const asks of [
    'require("net").connect(9, "127.0.0.1")',
    'require("net").connect(9, "::1")',
    'require("http").get("http://127.0.0.1:9")',
    'require("dgram").createSocket("udp4").bind()',
    'require("dns").resolve4("quench.invalid", () => {})',
    'new (require("worker_threads").Worker)(`require("net").connect(9, "127.0.0.1")`, { eval: true })',
  ])
    expect(await node('-e', asks), asks).toMatchObject({ signal: 'SIGSYS' })
  const child =
    'console.log(require("child_process").spawnSync(process.execPath, ["-e", "fetch(`http://[::1]`)"]).signal)'
  expect(await node('-e', child)).toMatchObject({ code: 0, stdout: 'SIGSYS\n' })
  expect(await node('-e', 'console.log("alive")')).toMatchObject({ code: 0, stdout: 'alive\n' })
})

test.runIf(filtered)(
  `every command writes its outputs and quench's cache, and tries no connection${skipped}`,
  async () => {
    const work = (name: string) => join(root, 'work', name)
    await firstBlocks(inRepository('models/quench-5m-f16.gguf'), work('m-f16.gguf'), 1)
    await copyFile(inRepository('models/quench-5m.test.txt'), work('text.txt'))
    writeCheckpoint(work('checkpoint'), {
      family: 'llama',
      tokenizer: byteLevelBpe(await readFile(work('text.txt'), 'utf8'), 'llama-bpe'),
    })
    const little = '-c 64 --tokens 512'
    /** What to type after each command, and its outputs; `demo` is run below. */
    const commands: Record<string, { line: string; outputs: string[] }> = {
      inspect: { line: 'm-f16.gguf --tensors', outputs: [] },
      convert: { line: 'checkpoint -o c.gguf', outputs: ['c.gguf'] },
      quantize: { line: 'm-f16.gguf -t Q4_0 -o q.gguf', outputs: ['q.gguf'] },
      // The model writes the text, into the cache, here and below.
      imatrix: { line: 'm-f16.gguf -o m.imatrix.gguf -c 64 --tokens 512', outputs: ['m.imatrix.gguf'] },
      train: {
        line: 'm-f16.gguf -t Q4_0 -o t.gguf --steps 1 --calibration 0 -c 64 --tokens 512 --validation 512',
        outputs: ['t.gguf'],
      },
      eval: { line: `q.gguf -r m-f16.gguf -d text.txt ${little} --save-reference r.ref`, outputs: ['r.ref'] },
      bench: { line: 'q.gguf -p 16 -n 4 -r 1', outputs: [] },
      compare: {
        line: `m-f16.gguf q.gguf -d text.txt ${little} --types Q8_0 -r 1 -p 16 -n 4 -f made -o report.html`,
        outputs: ['made/m-Q8_0.gguf', 'report.html'],
      },
      pull: { line: 'm-f16.gguf', outputs: [] },
      push: { line: 'm-f16.gguf --repo me/model', outputs: [] },
      'add-to': { line: 'lm-studio m-f16.gguf', outputs: [] },
      advise: { line: 'm-f16.gguf q.gguf --ram 16GB --vram 8GB -o advice.html', outputs: ['advice.html'] },
      catalogue: { line: '', outputs: [] },
      cache: { line: '', outputs: [] },
      measurements: { line: 'export -o measurements.jsonl', outputs: ['measurements.jsonl'] },
      doctor: { line: '', outputs: [] },
      complete: { line: 'bash', outputs: [] },
    }
    const [, help] = (await quench('--help')).stdout.split(/^Commands:$|^Environment variables:$/m)
    const listed = [...help.matchAll(/^ {2}([a-z-]+) (?=.*\S)/gm)].map(([, name]) => name)
    expect([...Object.keys(commands), 'demo', 'help'].sort()).toEqual(listed.sort())

    const expected = new Set(await files())
    const check = async (command: string, ran: Ran, outputs: readonly string[]) => {
      expect(ran, command).toMatchObject({ code: 0, signal: null })
      for (const output of outputs) expected.add(join('work', output))
      const found = (await files()).filter((file) => !/^cache\/(text\/|measurements\.db$)/.test(file))
      expect(found.sort(), command).toEqual([...expected].sort())
    }
    for (const [command, { line, outputs }] of Object.entries(commands))
      await check(command, await quench(command, ...line.split(' ').filter(Boolean)), outputs)

    // On a thread, as programs may use it, whose `process.env` the native library does not see.
    const demo = await node(demoThread, compiled('index.js'), 'demo')
    const types = [...rungsOf(undefined, true).map((rung) => rungName(rung).replace(' ', '-')), 'imatrix']
    const made = types.map((type) => `demo/quench-5m-${type}.gguf`)
    const begun = (await files()).filter((file) => /^work\/demo\/\.?quench-5m-Q4_0-QAT/.test(file))
    await check('demo', demo, [...made, ...begun.map((file) => relative('work', file))])
  },
  600_000,
)
