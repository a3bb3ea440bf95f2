/** Models by name, as they are typed: pulled once, and taken by every command. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeEach, expect, test } from 'vitest'
import { startHub } from '../support/hub.js'
import type { HubServer } from '../support/hub-server.js'
import { quenchUntil, quenchWith, type Ran } from '../support/quench.js'
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
  hub.slow = 0
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

test('Ctrl-C is told to lose nothing, and loses nothing', async () => {
  const home = { ...env, HF_HOME: join(folder, 'interrupted') }
  hub.slow = 20
  const sent = (): number => hub.sent.get('tiny-F16.gguf') ?? 0
  const stopped = await quenchUntil(
    { name: 'SIGINT', when: () => sent() > 3 * 2 ** 20, env: home },
    ...['pull', 'hf:org/tiny', '--connections', '1'],
  )
  expect(stopped).toMatchObject({ code: 130, stdout: '' })
  expect(stopped.stderr).toMatch(
    /^quench: downloading .*\n(.*\n)*quench: the download was stopped; what has come is kept, and the same command goes on from there\n$/,
  )
  hub.slow = 0
  hub.sent.clear()
  expect(await quenchWith(home, 'pull', 'hf:org/tiny')).toMatchObject({ code: 0 })
  expect(sent()).toBeLessThan(model.length - 2 ** 20)
})

test('inspect reads the header of a file that stays where it is, and the whole of one that is here', async () => {
  const home = { ...env, HF_HOME: join(folder, 'inspected') }
  const far = await quenchWith(home, 'inspect', 'hf:org/tiny', '--json', '--tensors')
  expect(far).toMatchObject({ code: 0, stderr: '' })
  expect(hub.sent.get('tiny-F16.gguf')).toBeLessThanOrEqual(2 ** 21)
  expect(existsSync(home.HF_HOME)).toBe(false)
  expect((await quenchWith(home, 'pull', 'hf:org/tiny')).code).toBe(0)
  hub.asked.length = 0
  const near = await quenchWith(home, 'inspect', 'hf:org/tiny', '--json', '--tensors')
  expect(near).toMatchObject({ code: 0, stderr: '' })
  // The listing, and nothing else.
  expect(hub.asked).toHaveLength(1)
  const [a, b] = [far, near].map(({ stdout }) => JSON.parse(stdout))
  expect(a).toMatchObject({ architecture: 'llama', type: 'F16', bytes: model.length })
  const whole = { path: '', files: [], lattice: undefined }
  expect({ ...a, ...whole }).toEqual({ ...b, ...whole })
  expect(await quenchWith(home, 'inspect', 'hf:org/two:Q2_K')).toMatchObject({
    code: 1,
    stderr: 'quench: hf:org/two: it has no Q2_K; it has Q8_0, Q5_0\n',
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
  expect(await quench('pull', 'none.gguf')).toMatchObject({
    code: 1,
    stdout: '',
    stderr: 'quench: none.gguf: no such file; to download a repository name it as in hf:org/model\n',
  })
  expect(await quench('pull', 'hf:a/b/c')).toMatchObject({ code: 2 })
  expect((await quench('train', 'hf:org/two', '--type', 'Q4_0')).stderr).toMatch(
    /^quench: hf:org\/two: it has no full-precision file .*\n$/,
  )
  // A mistyped path asks nobody.
  hub.asked.length = 0
  expect((await quench('quantize', 'org/tiny.gguf', 'Q4_0')).stderr).toMatch(/no such file or folder/)
  expect(hub.asked).toEqual([])
})
