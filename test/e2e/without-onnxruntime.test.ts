/** All that does not train works where onnxruntime-node is not installed, and training says what is missing. */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compiled } from '../support/compiled.js'

const withoutIt = new URL('../support/no-onnxruntime.mjs', import.meta.url).href
const shipped = (name: string) => fileURLToPath(new URL(`../../models/${name}`, import.meta.url))
const model = shipped('quench-5m-f16.gguf')
const text = shipped('quench-5m.test.txt')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Node, and the processes that it starts, without onnxruntime-node unless another module is preloaded. */
function node(...args: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const preloads = args[0] === '--import'
  const env = { ...process.env, ...(!preloads && { NODE_OPTIONS: `--import ${withoutIt}` }) }
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: folder, env }, (error, stdout, stderr) =>
      resolve({ code: error ? error.code : 0, stdout, stderr }),
    )
  })
}

const quench = (...args: string[]) => node(compiled('cli/main.js'), ...args)

test('neither require nor import finds it', async () => {
  for (const load of ['require("onnxruntime-node")', 'import("onnxruntime-node")'])
    expect(await node('-e', load)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/Cannot find (module|package)/),
    })
})

test('the public interface is imported', async () => {
  const index = pathToFileURL(compiled('index.js')).href
  const program = `console.log((await (await import('${index}')).inspectFile(process.argv[1])).architecture)`
  const ran = await node('--input-type=module', '-e', program, model)
  expect(ran).toEqual({ code: 0, stdout: 'llama\n', stderr: '' })
})

test('inspect, quantize, eval and bench', async () => {
  const commands = [
    ['inspect', model],
    ['quantize', model, '-t', 'Q4_0', '-o', 'q.gguf'],
    ['eval', 'q.gguf', '-r', model, '-d', text, '-c', '64', '--tokens', '512'],
    ['bench', 'q.gguf', '-p', '16', '-n', '4', '-r', '1'],
  ]
  for (const command of commands) {
    const ran = await quench(...command)
    expect(ran, ran.stderr).toMatchObject({ code: 0 })
    expect(ran.stdout).not.toBe('')
  }
})

test('doctor says that it is missing', async () => {
  const { code, stdout } = await quench('doctor')
  expect(code).toBe(1)
  expect(stdout).toMatch(/^onnxruntime +missing$/m)
  expect(stdout).toContain('training needs the package onnxruntime-node, which is not installed')
})

test('doctor says that it cannot be loaded', async () => {
  const broken = new URL('../support/broken-onnxruntime.mjs', import.meta.url).href
  const { code, stdout } = await node('--import', broken, compiled('cli/main.js'), 'doctor', '--json')
  expect(code).toBe(1)
  const { versions, missing } = JSON.parse(stdout)
  expect(versions.onnxruntime).toBeUndefined()
  expect(missing[0].what).toMatch(
    /onnxruntime-node, of which version .* cannot be loaded on .*: no such build/,
  )
})

test('train says what is to be installed, before any work', async () => {
  const before = await readdir(folder)
  const { code, stdout, stderr } = await quench('train', model, '-t', 'Q4_0', '-o', 't.gguf', '--steps', '1')
  expect(stderr).toBe(
    'quench: training needs the package onnxruntime-node, which is not installed: npm install onnxruntime-node@1\n',
  )
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(await readdir(folder)).toEqual(before)
})
