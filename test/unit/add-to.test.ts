/** Files into the folders of LM Studio, and to a program that stands for Ollama's. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Addition, carryOut, planAddition } from '../../src/names/add-to.js'
import { lmStudioFolder, ollamaModel } from '../../src/names/stores.js'
import { scratchFolder } from './gguf-bytes.js'

const scratch = scratchFolder()
let home: string
let count = 0
beforeEach(() => {
  home = join(scratch, `home${count++}`)
  mkdirSync(home)
  vi.stubEnv('HOME', home)
  vi.stubEnv('OLLAMA_MODELS', '')
})
afterEach(() => vi.unstubAllEnvs())

function file(name: string): string {
  const path = join(home, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, name)
  return path
}
const placesIn = (addition: Addition) =>
  addition.store === 'lm-studio' ? addition.files.map(({ to }) => to) : []

test('LM Studio says where its folder lies', () => {
  expect(lmStudioFolder()).toBe(join(home, '.lmstudio', 'models'))
  mkdirSync(join(home, '.cache', 'lm-studio'), { recursive: true })
  expect(lmStudioFolder()).toBe(join(home, '.cache', 'lm-studio', 'models'))
  const elsewhere = join(home, 'elsewhere')
  file('elsewhere/x')
  writeFileSync(join(home, '.lmstudio-home-pointer'), `${elsewhere}\n`)
  expect(lmStudioFolder()).toBe(join(elsewhere, 'models'))
  writeFileSync(join(elsewhere, 'settings.json'), JSON.stringify({ downloadsFolder: '/data/models' }))
  expect(lmStudioFolder()).toBe('/data/models')
  writeFileSync(join(home, '.lmstudio-home-pointer'), join(home, 'gone'))
  expect(lmStudioFolder()).toBe(join(home, '.cache', 'lm-studio', 'models'))
})

test('LM Studio gets a link, of every part, and nothing of its own is replaced', async () => {
  const path = file('Gemma-3-270m-Q4_0.gguf')
  const addition = await planAddition('lm-studio', path, 'Gemma-3-270m-Q4_0.gguf')
  const to = join(home, '.lmstudio', 'models', 'imported-models', 'Gemma-3-270m', 'Gemma-3-270m-Q4_0.gguf')
  expect(addition).toMatchObject({
    name: 'imported-models/Gemma-3-270m',
    files: [{ from: path, to, present: false }],
  })
  await expect(carryOut(addition)).rejects.toThrow(/start it once/)
  mkdirSync(join(home, '.lmstudio'))
  await carryOut(addition)
  expect(statSync(to).ino).toBe(statSync(path).ino)
  expect(readdirSync(join(to, '..'))).toEqual(['Gemma-3-270m-Q4_0.gguf'])
  expect(await planAddition('lm-studio', path, 'Gemma-3-270m-Q4_0.gguf')).toMatchObject({
    files: [{ present: true }],
  })
  const other = file('other/Gemma-3-270m-Q4_0.gguf')
  await expect(planAddition('lm-studio', other, 'Gemma-3-270m-Q4_0.gguf')).rejects.toThrow(
    /another file of this name/,
  )
  const mine = await planAddition('lm-studio', other, 'Gemma-3-270m-Q4_0.gguf', 'me/model')
  await carryOut(mine)
  expect(placesIn(mine).every(existsSync)).toBe(true)
  for (const name of ['me', '../..', 'a/../b', 'me/..', 'a/b/c', '/a'])
    await expect(planAddition('lm-studio', path, 'x.gguf', name), name).rejects.toThrow(
      /is no name for LM Studio/,
    )

  const parts = [1, 2].map((part) => file(`big/m-Q8_0-0000${part}-of-00002.gguf`))
  const split = await planAddition('lm-studio', parts[0], 'm-Q8_0-00001-of-00002.gguf')
  await carryOut(split)
  expect(placesIn(split).map((place) => readFileSync(place, 'utf8'))).toEqual([
    'big/m-Q8_0-00001-of-00002.gguf',
    'big/m-Q8_0-00002-of-00002.gguf',
  ])
})

test('a file of the Hub keeps the name of its repository, and its blob is linked, not the link', async () => {
  mkdirSync(join(home, '.lmstudio'))
  const blob = file(`hub/models--org--tiny/blobs/${'a'.repeat(64)}`)
  const snapshot = join(home, 'hub/models--org--tiny/snapshots', 'c'.repeat(40))
  mkdirSync(snapshot, { recursive: true })
  const path = join(snapshot, 'tiny-Q4_0.gguf')
  symlinkSync(blob, path)
  const addition = await planAddition('lm-studio', path, 'tiny-Q4_0.gguf')
  expect(addition.name).toBe('org/tiny')
  await carryOut(addition)
  expect(statSync(placesIn(addition)[0]).nlink).toBe(2)
})

/** A program that notes how it was called. */
function standIn(code: number): string {
  const bin = join(home, 'bin')
  const noted = join(home, 'called')
  mkdirSync(bin, { recursive: true })
  writeFileSync(
    join(bin, 'ollama'),
    `#!/bin/sh\nprintf '%s ' "$1" "$2" "$3" > ${noted}\ncat "$4" >> ${noted}\nexit ${code}\n`,
  )
  chmodSync(join(bin, 'ollama'), 0o755)
  vi.stubEnv('PATH', `${bin}${delimiter}${process.env.PATH}`)
  return noted
}

test('Ollama is asked to create it, with a Modelfile that is gone afterwards', async () => {
  const path = file('Gemma 3-270m-Q4_K_M.gguf')
  const addition = await planAddition('ollama', path, 'Gemma 3-270m-Q4_K_M.gguf')
  expect(addition).toEqual({ store: 'ollama', name: 'gemma-3-270m:q4_k_m', modelfile: `FROM ${path}\n` })
  vi.stubEnv('PATH', join(home, 'nothing'))
  await expect(carryOut(addition)).rejects.toThrow(/`ollama` cannot be run/)
  vi.unstubAllEnvs()
  vi.stubEnv('HOME', home)
  vi.stubEnv('TMPDIR', home)
  const noted = standIn(0)
  await carryOut(addition)
  expect(readFileSync(noted, 'utf8')).toBe(`create gemma-3-270m:q4_k_m -f FROM ${path}\n`)
  expect(readdirSync(home).filter((name) => name.startsWith('quench-'))).toEqual([])
  standIn(3)
  await expect(carryOut(addition)).rejects.toThrow(/failed with exit code 3/)
})

test('Ollama gets no name that it has, that is none, or a split model', async () => {
  const path = file('m.gguf')
  const manifest = join(home, '.ollama/models/manifests/registry.ollama.ai/library/m/latest')
  mkdirSync(join(manifest, '..'), { recursive: true })
  writeFileSync(
    manifest,
    JSON.stringify({
      layers: [{ mediaType: 'application/vnd.ollama.image.model', digest: `sha256:${'b'.repeat(64)}` }],
    }),
  )
  file(`.ollama/models/blobs/sha256-${'b'.repeat(64)}`)
  expect(await ollamaModel('m')).toBeDefined()
  await expect(planAddition('ollama', path, 'm.gguf')).rejects.toThrow(/Ollama has m already/)
  expect(await planAddition('ollama', path, 'm.gguf', 'm:other')).toMatchObject({ name: 'm:other' })
  await expect(planAddition('ollama', path, 'm.gguf', '../x')).rejects.toThrow(/is no name for Ollama/)
  const [first] = [1, 2].map((part) => file(`s-0000${part}-of-00002.gguf`))
  await expect(planAddition('ollama', first, 's')).rejects.toThrow(/takes no split models/)
})
