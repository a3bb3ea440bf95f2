/** Output files are whole or absent, and what goes wrong is said in one sentence. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import {
  atomicWrite,
  commitTemporary,
  discardTemporary,
  removeTemporaryFiles,
  systemError,
  temporaryPath,
} from '../../src/files.js'
import { createGguf, Metadata } from '../../src/gguf/index.js'
import { scratchFolder } from './gguf-bytes.js'

const folder = scratchFolder()
const leftovers = () => readdirSync(folder).filter((name) => name.endsWith('.tmp'))

test('a file is replaced by text, bytes, or what a function writes', async () => {
  const path = join(folder, 'report.json')
  await atomicWrite(path, 'old')
  await atomicWrite(path, Uint8Array.of(110, 101, 119))
  expect(readFileSync(path, 'utf8')).toBe('new')
  await atomicWrite(path, async (handle) => {
    await handle.write('in ')
    expect(readFileSync(path, 'utf8')).toBe('new') // until it is whole
    await handle.write('parts')
  })
  expect(readFileSync(path, 'utf8')).toBe('in parts')
  expect(leftovers()).toEqual([])
})

test('a failed write leaves the old file and nothing else', async () => {
  const path = join(folder, 'kept.json')
  await atomicWrite(path, 'old')
  const full = Object.assign(new Error('write'), { code: 'ENOSPC' })
  const failing = atomicWrite(path, async (handle) => {
    await handle.write('half')
    throw full
  })
  await expect(failing).rejects.toThrow(
    new FileError(path, 'the disk is full; make room or choose another folder'),
  )
  const bug = new TypeError('a bug stays a bug')
  await expect(atomicWrite(path, () => Promise.reject(bug))).rejects.toBe(bug)
  expect(readFileSync(path, 'utf8')).toBe('old')
  expect(leftovers()).toEqual([])
})

test('names that cannot be written are refused before any work', async () => {
  const metadata = new Metadata('m')
  const absent = join(folder, 'absent', 'out.gguf')
  await expect(createGguf(absent, { metadata, tensors: [] })).rejects.toThrow(
    `${absent}: no such file or folder`,
  )
  await expect(atomicWrite(absent, '')).rejects.toThrow(`${absent}: no such file or folder`)
  mkdirSync(join(folder, 'sub'))
  await expect(createGguf(join(folder, 'sub'), { metadata, tensors: [] })).rejects.toThrow('this is a folder')
  if (process.platform !== 'win32')
    await expect(atomicWrite('/dev/null', '')).rejects.toThrow('this is not a regular file')
  await expect(atomicWrite(join(folder, 'n'.repeat(300)), '')).rejects.toThrow('the name is too long')
})

test('system errors become sentences; other errors stay', () => {
  const system = (code: string) => systemError('out.gguf', Object.assign(new Error('x'), { code }))
  expect(system('EACCES')).toEqual(
    new FileError('out.gguf', 'no permission; check who owns the file and its folder'),
  )
  expect(system('EWEIRD')).toEqual(new FileError('out.gguf', 'the system answered EWEIRD'))
  const bug = new TypeError('x')
  expect(systemError('out.gguf', bug)).toBe(bug)
})

test('a file written by other code is renamed into place', async () => {
  const path = join(folder, 'foreign.gguf')
  const temporary = temporaryPath(path)
  expect(basename(temporary)).toMatch(/^\.foreign\.gguf\.\d+\.[0-9a-f]{8}\.tmp$/)
  writeFileSync(temporary, 'written by a library')
  await commitTemporary(temporary, path)
  expect(readFileSync(path, 'utf8')).toBe('written by a library')
  await expect(commitTemporary(temporaryPath(path), path)).rejects.toThrow('no such file') // nothing was written
  await discardTemporary(temporaryPath(path))
  expect(leftovers()).toEqual([])
})

test('a signal handler removes what is half written', async () => {
  const path = join(folder, 'interrupted.gguf')
  const tensors = [{ name: 't', shape: [4], type: 0 }]
  const writer = await createGguf(path, { metadata: new Metadata(path), tensors })
  expect(leftovers()).toHaveLength(1)
  removeTemporaryFiles()
  expect(leftovers()).toEqual([])
  await writer.abort()
  expect(existsSync(path)).toBe(false)
})

test.skipIf(process.platform === 'win32')(
  'a disk limit in the middle of a file is said, and nothing is left',
  () => {
    const script = `
    import { createGguf, Metadata } from ${JSON.stringify(join(import.meta.dirname, '../../src/gguf/index.ts'))}
    const tensors = [{ name: 't', shape: [1048576], type: 0 }]
    const writer = await createGguf('limited.gguf', { metadata: new Metadata('m'), tensors })
    await writer.write('t', new Uint8Array(4194304)).catch((error) => console.log(error.name, error.message))
  `
    writeFileSync(join(folder, 'limited.mts'), script)
    const tsx = join(import.meta.dirname, '../../node_modules/tsx/dist/cli.mjs')
    const command = `ulimit -f 1024; exec "${process.execPath}" "${tsx}" limited.mts`
    const result = spawnSync('bash', ['-c', command], { cwd: folder, encoding: 'utf8' })
    expect(result.stdout).toContain(
      'FileError limited.gguf: the file is larger than this disk or the limits of this shell',
    )
    expect(leftovers()).toEqual([])
  },
)
