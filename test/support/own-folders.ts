/**
 * Folders of a test run's own in place of the user's: what tests and the commands that they start cache or measure goes there, begins
 * empty, and is removed at the end.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export default async function setup(): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'quench-tests-'))
  const folders = { HOME: 'home', XDG_CACHE_HOME: 'xdg-cache', QUENCH_CACHE: 'cache' }
  for (const [variable, name] of Object.entries(folders)) {
    process.env[variable] = join(folder, name)
    await mkdir(join(folder, name))
  }
  return () => rm(folder, { recursive: true, force: true })
}
