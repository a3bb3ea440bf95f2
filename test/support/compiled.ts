/**
 * The sources, compiled once for a test run: a command that a test types starts in a third of the time that it takes from
 * TypeScript. The folder lies in the root of the project, as `dist` does, since the command looks from there for package.json and models.
 */
import { execFile } from 'node:child_process'
import { readdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const root = resolve(import.meta.dirname, '../..')

/** Removes what killed runs left, and the folder itself at the end. */
export default async function setup(): Promise<() => Promise<void>> {
  for (const name of await readdir(root)) {
    const pid = /^\.test-build-(\d+)$/.exec(name)?.[1]
    if (pid !== undefined && !isRunning(Number(pid))) await rm(join(root, name), { recursive: true })
  }
  const folder = join(root, `.test-build-${process.pid}`)
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const options = ['--noCheck', '--declaration', 'false', '--outDir', folder]
  await promisify(execFile)(process.execPath, [tsc, '-p', 'tsconfig.build.json', ...options], { cwd: root })
  process.env.QUENCH_TEST_BUILD = folder
  return () => rm(folder, { recursive: true, force: true })
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0) // sends nothing
  } catch {
    return false
  }
}

/** A file of the sources, compiled: `cli/main.js` is the command. */
export const compiled = (path: string): string => join(process.env.QUENCH_TEST_BUILD as string, path)
