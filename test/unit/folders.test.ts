/** Folders are made with those around them, or it is said why not. */
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import { makeFolder } from '../../src/folders.js'

const folder = mkdtempSync(join(tmpdir(), 'quench-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('a folder and those around it, once and again', () => {
  const path = join(folder, 'a', 'b', 'c')
  makeFolder(path, 0o700)
  makeFolder(path)
  expect(statSync(path).mode & 0o777).toBe(0o700)
  symlinkSync(path, join(folder, 'link'))
  makeFolder(join(folder, 'link', 'd'))
  expect(existsSync(join(path, 'd'))).toBe(true)
})

test('where no folder can be', () => {
  writeFileSync(join(folder, 'file'), '')
  symlinkSync('nowhere', join(folder, 'dangling'))
  symlinkSync('loop', join(folder, 'loop'))
  for (const name of [
    'file',
    'file/x',
    'file/x/y',
    'dangling',
    'dangling/x',
    'loop',
    'loop/x',
    'x'.repeat(300),
  ])
    expect(() => makeFolder(join(folder, name)), name).toThrow(FileError)
})

test.runIf(process.platform === 'linux')('in a folder of the system where nothing can be made', () => {
  expect(() => makeFolder('/proc/quench/x')).toThrow(/^\/proc\/quench\/x: no such file or folder$/)
})
