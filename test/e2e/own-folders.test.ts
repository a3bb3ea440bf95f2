/** Tests, and the commands that they start, use a cache and a store of their own. */
import { spawnSync } from 'node:child_process'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { cacheFolder } from '../../src/cache-folder.js'

const module = fileURLToPath(new URL('../../src/cache-folder.ts', import.meta.url))

test('no folder of the user is used, whichever of the variables a test takes away', () => {
  for (const unset of [[], ['QUENCH_CACHE'], ['QUENCH_CACHE', 'XDG_CACHE_HOME']]) {
    const env = { ...process.env }
    for (const name of unset) delete env[name]
    const print = `import { cacheFolder } from ${JSON.stringify(module)}; process.stdout.write(cacheFolder())`
    const args = ['--import', 'tsx', '--input-type=module', '-e', print]
    const child = spawnSync(process.execPath, args, { env, encoding: 'utf8' })
    expect(child.stdout.startsWith(join(tmpdir(), 'quench-tests-'))).toBe(true)
    expect(child.stdout.startsWith(join(userInfo().homedir, '.cache'))).toBe(false)
    if (unset.length === 0) expect(cacheFolder()).toBe(child.stdout)
  }
})
