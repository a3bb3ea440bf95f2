/** Which native libraries are loaded: those of the pinned package and no other file beside them. */
import { spawn } from 'node:child_process'
import { appendFile, cp, mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { library, scoreOf, x64Builds } from '../../src/llama/library.js'
import { findLibraries, uncheckedPackage } from '../../src/llama/package.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
let folder: string
/** The libraries in a copy of the project, which can be changed. */
let libraries: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-libraries-'))
  const { folder: bins } = findLibraries('')
  const name = dirname(dirname(bins))
  const modules = join(folder, 'node_modules')
  await mkdir(join(modules, '@node-llama-cpp'), { recursive: true })
  await cp(join(root, 'src'), join(folder, 'src'), { recursive: true })
  await cp(join(root, 'package.json'), join(folder, 'package.json'))
  for (const entry of await readdir(join(root, 'node_modules')))
    if (entry !== '@node-llama-cpp') await symlink(join(root, 'node_modules', entry), join(modules, entry))
  await cp(name, join(modules, '@node-llama-cpp', name.split('/').at(-1) as string), { recursive: true })
  libraries = join(modules, bins.slice(bins.indexOf('@node-llama-cpp')))
})
afterAll(() => rm(folder, { recursive: true }))

/** Loads the libraries in a process of its own; what it maps into memory, or the error. */
function load(environment: NodeJS.ProcessEnv = {}): Promise<{ out: string; error: string }> {
  const code = `import { library } from ${JSON.stringify(join(folder, 'src/llama/library.ts'))}
    import { readFileSync } from 'node:fs'
    try { library() } catch (error) { console.log(error.name, error.message) }
    console.log(readFileSync('/proc/self/maps', 'utf8'))`
  const args = ['--import', 'tsx', '--input-type=module', '-e', code]
  const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...environment } })
  let [out, error] = ['', '']
  child.stdout.on('data', (text) => {
    out += text
  })
  child.stderr.on('data', (text) => {
    error += text
  })
  return new Promise((resolve) => child.once('close', () => resolve({ out, error })))
}

test.runIf(process.platform === 'linux')('known libraries only, each as it was packed', async () => {
  // What lies beside them is not even opened: these are no libraries.
  const llama = (await readdir(libraries)).find((file) => file.startsWith('libllama.')) as string
  for (const foreign of ['libggml-cuda.so', 'libggml-cpu-zen9.so', 'libllama.so', 'libggml.so'])
    await writeFile(join(libraries, foreign), 'no library')
  const sound = await load({ GGML_BACKEND_PATH: join(libraries, 'libggml-cuda.so') })
  expect(sound.out).not.toMatch(/Error/)
  expect(sound.error).toBe('')
  expect(sound.out).toContain(join(libraries, llama))
  expect(sound.out).toMatch(/libggml-cpu-\w[\w.]*\.so/)
  expect(sound.out).not.toMatch(/libggml-cuda|zen9|libllama\.so|libggml\.so/)

  await appendFile(join(libraries, llama), Buffer.of(0))
  const changed = await load()
  expect(changed.out).toMatch(
    /^QuenchError .*libllama.*\.so is not the library of release 3\.22\.1, so it is not loaded/,
  )
  expect(changed.out).not.toContain(`${join(libraries, llama)}\n`)
})

test('builds for x64 are listed by their scores', () => {
  const { cpus = [] } = findLibraries('')
  library() // what the builds need stays loaded
  const listed = x64Builds.flatMap((name) => cpus.find((path) => path.endsWith(`-${name}.so`)) ?? [])
  expect([0, cpus.length]).toContain(listed.length) // none on other machines
  const scores = listed.map(scoreOf).filter((score) => score > 0)
  expect([...new Set(scores)].sort((a, b) => b - a)).toEqual(scores)
})

test.runIf(process.platform === 'linux')('another package is loaded as it is, which is said', async () => {
  const { folder: bins } = findLibraries('')
  const platform = basename(bins)
  const other = join(folder, 'node_modules', '@node-llama-cpp', `${platform}-cuda`)
  await cp(dirname(dirname(bins)), other, { recursive: true })
  await rename(join(other, 'bins', platform), join(other, 'bins', `${platform}-cuda`))
  const { out, error } = await load({ QUENCH_LLAMA_PACKAGE: `${platform}-cuda` })
  expect(error).toBe('')
  expect(uncheckedPackage(`${platform}-cuda`)).toBe(`@node-llama-cpp/${platform}-cuda`)
  for (const checked of ['', platform]) expect(uncheckedPackage(checked)).toBeUndefined()
  expect(out).not.toMatch(/Error/)
  expect(out).toMatch(/-cuda\/libggml-cpu-\w[\w.]*\.so/)
})
