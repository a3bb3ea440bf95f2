/** The process in which libllama tries files: it is replaced when it crashes, and it outlives nobody. */
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkLoads, quantizeModel } from '../../src/llama/index.js'
import { inNativeProcess } from '../../src/llama/native-process.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, uint32Value, withMetadata } from '../support/with-metadata.js'

let folder: string
const path = (name: string): string => join(folder, `${name}.gguf`)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-native-process-'))
  for (const seed of [1, 2]) await writeTinyGguf(path(`sound${seed}`), { seed })
  for (const groups of [4, 5])
    await withMetadata(path('sound1'), path(`bad${groups}`), {
      'llama.expert_group_count': uint32Value(groups), // groups of no experts fail an assert
    })
})
afterAll(() => rm(folder, { recursive: true }))

test('a crash is the answer of the file that made it, and no other', async () => {
  const names = ['sound1', 'bad4', 'sound2', 'bad5', 'none', 'sound1']
  const results = await Promise.allSettled(names.map((name) => checkLoads(path(name), 'run')))
  const reasons = results.map((result) =>
    result.status === 'rejected' ? String(result.reason.message) : 'sound',
  )
  const crash = (name: string) =>
    `${path(name)}: llama.cpp cannot load it: its check "hparams.n_expert_groups == 0" failed`
  expect(reasons).toEqual([
    'sound',
    expect.stringContaining(crash('bad4')),
    'sound',
    expect.stringContaining(crash('bad5')),
    expect.stringContaining('no such file'),
    'sound',
  ])
})

test('a file that has changed is tried again', async () => {
  await withMetadata(path('sound1'), path('changing'), {})
  await checkLoads(path('changing'), 'load')
  await writeFile(path('changing'), 'GGUF and no more')
  await expect(checkLoads(path('changing'), 'load')).rejects.toThrow(/GGUF version/)
})

test('a model that does not load is not quantized, though libllama would', async () => {
  const [bad, output] = [path('untokenized'), path('output')]
  await withMetadata(path('sound1'), bad, { 'tokenizer.ggml.pre': stringValue('unheard-of') })
  const request = { input: bad, output, options: { type: 'Q4_0', threads: 1 }, files: [output] }
  expect(await inNativeProcess('quantize', { ...request, trial: false })).toBeUndefined()
  const problem = `${bad}: llama.cpp cannot load it: unknown pre-tokenizer type: 'unheard-of'`
  await expect(quantizeModel(bad, output, request.options, [output])).rejects.toThrow(problem)
  await rm(output, { force: true })
  const before = await readdir(folder)
  await expect(quantizeFile(bad, output, 'Q4_0')).rejects.toThrow(problem)
  expect(await readdir(folder)).toEqual(before)
  await quantizeModel(path('sound2'), output, request.options)
})

test.runIf(process.platform === 'linux')(
  'it ends with the process that started it, however that ends',
  async () => {
    const llama = fileURLToPath(new URL('../../src/llama/index.ts', import.meta.url))
    const code = `import { checkLoads } from ${JSON.stringify(llama)}
    import { readFileSync } from 'node:fs'
    await checkLoads(${JSON.stringify(path('sound1'))}, 'run')
    console.log(readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8'))
    setInterval(() => {}, 1000)`
    const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code])
    const children = await new Promise<string>((resolve) =>
      parent.stdout.once('data', (data) => resolve(String(data))),
    )
    const pids = children.trim().split(' ').map(Number)
    expect(pids.length).toBeGreaterThan(0)
    parent.kill('SIGKILL')
    const lives = (pid: number): boolean => {
      try {
        return process.kill(pid, 0)
      } catch {
        return false
      }
    }
    while (pids.some(lives)) await setTimeout(20)
  },
)
