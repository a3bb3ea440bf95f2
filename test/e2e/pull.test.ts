/** Models by name, as they are typed: pulled once, and taken by every command. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeEach, expect, test } from 'vitest'
import { startHub } from '../support/hub.js'
import type { HubServer } from '../support/hub-server.js'
import { quenchWith, type Ran } from '../support/quench.js'
import { scratchFolder } from '../unit/gguf-bytes.js'

const folder = scratchFolder()
const hub: HubServer = await startHub()
const model = readFileSync(fileURLToPath(new URL('../../models/quench-5m-f16.gguf', import.meta.url)))
const env = {
  HF_ENDPOINT: hub.endpoint,
  HF_HOME: join(folder, 'hf'),
  HF_TOKEN: '',
  HF_HUB_OFFLINE: undefined,
}
const quench = (...args: string[]): Promise<Ran> => quenchWith(env, ...args)

beforeEach(() => {
  hub.asked.length = 0
  hub.sent.clear()
  hub.repositories.set('org/tiny', { files: { 'tiny-F16.gguf': model, 'mmproj.gguf': model } })
  hub.repositories.set('org/two', { files: { 'a-Q8_0.gguf': model, 'b-Q5_0.gguf': model } })
})

test('pull says what it does, once, and other commands take the name', async () => {
  const planned = await quench('pull', 'hf:org/tiny', '--dry-run')
  expect(planned).toMatchObject({ code: 0, stderr: '' })
  expect(planned.stdout).toMatch(/would download .*tiny-F16.gguf \(8\.99 MB\)/)
  expect(hub.sent.size).toBe(0)

  const out = join(folder, 'q.gguf')
  const quantized = await quench('quantize', 'org/tiny', 'Q4_0', '-o', out)
  expect(quantized.code).toBe(0)
  expect(quantized.stderr).toMatch(
    /^quench: downloading hf:org\/tiny:tiny-F16.gguf \(.* MB\) into .*snapshots/,
  )
  expect(existsSync(out)).toBe(true)
  expect(hub.sent.get('tiny-F16.gguf')).toBe(model.length)

  const pulled = await quench('pull', 'hf:org/tiny', '--json')
  expect(pulled).toMatchObject({ code: 0, stderr: '' })
  const { path, files, repository } = JSON.parse(pulled.stdout)
  expect(readFileSync(path).equals(model)).toBe(true)
  expect(files).toMatchObject([{ present: true, bytes: model.length }])
  expect(repository).toMatchObject({ id: 'org/tiny', revision: 'main' })
  expect(hub.sent.get('tiny-F16.gguf')).toBe(model.length)
  expect(await quenchWith({ ...env, HF_HUB_OFFLINE: '1' }, 'pull', 'hf:org/tiny')).toMatchObject({
    code: 0,
    stdout: `${path}\n`,
  })
})

test('what goes wrong is one sentence', async () => {
  expect(await quench('pull', 'hf:org/two')).toEqual({
    code: 1,
    stdout: '',
    stderr:
      'quench: hf:org/two: it has several models; name one after a colon, by its file or its type: Q8_0, Q5_0\n',
  })
  expect((await quench('pull', 'hf:org/none')).stderr).toMatch(
    /^quench: hf:org\/none: there is no such repository, or it is private; .*\n$/,
  )
  expect(await quench('pull', 'hf:a/b/c')).toMatchObject({ code: 2 })
  expect((await quench('train', 'hf:org/two', '--type', 'Q4_0')).stderr).toMatch(
    /^quench: hf:org\/two: it has no full-precision file .*\n$/,
  )
  // A mistyped path asks nobody.
  hub.asked.length = 0
  expect((await quench('quantize', 'org/tiny.gguf', 'Q4_0')).stderr).toMatch(/no such file or folder/)
  expect(hub.asked).toEqual([])
})
