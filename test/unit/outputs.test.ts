/** Outputs beside inputs: whatever bears another name of an input is refused before anything is written. */
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, relative, sep } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { demo } from '../../src/compare/demo.js'
import { UsageError } from '../../src/errors.js'
import { atomicWrite, reserveSpace, temporaryPath } from '../../src/files.js'
import { createGguf, Metadata } from '../../src/gguf/index.js'
import { lockFile } from '../../src/locks.js'
import { checkOutputs, type Output, withOutputs } from '../../src/outputs.js'
import { besidePath, hiddenPath } from '../../src/paths.js'
import { reservedPath } from '../../src/reserve.js'
import { keptBeside } from '../../src/resume/leftovers.js'
import { scratchFolder } from './gguf-bytes.js'

const scratch = scratchFolder()
let folder: string
let number = 0
beforeEach(() => {
  folder = join(scratch, String(number++))
  mkdirSync(folder)
})

const write = (...names: string[]): string => {
  const path = join(folder, ...names)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, `content of ${names.at(-1)}`)
  return path
}
const output = (path: string, more: Partial<Output> = {}): Output => ({ path, by: '--output', ...more })
const refused = (path: string, input: string, more: Partial<Output> = {}) =>
  expect(checkOutputs({ writes: [output(path, more)], reads: [{ path: input, by: '--data' }] })).rejects

describe('an output that is an input', () => {
  const names: [string, (input: string) => string][] = [
    ['the same name', (input) => input],
    ['another spelling', (input) => `${folder}${sep}x${sep}..${sep}${basename(input)}`],
    ['a relative name', (input) => relative(process.cwd(), input)],
    ['a symbolic link', (input) => linked(symlinkSync, input)],
    ['a hard link', (input) => linked(linkSync, input)],
    ['a link to a link', (input) => linked(symlinkSync, linked(symlinkSync, input, 'first'))],
    [
      'a folder that is a link',
      (input) => {
        symlinkSync(folder, join(folder, 'around'))
        return join(folder, 'around', basename(input))
      },
    ],
  ]
  const linked = (make: typeof linkSync, input: string, name = 'link'): string => {
    make(input, join(folder, name))
    return join(folder, name)
  }

  test.each(names)('by %s', async (_, name) => {
    const input = write('model.gguf')
    mkdirSync(join(folder, 'x'))
    const path = name(input)
    const error = await checkOutputs({
      writes: [output(path)],
      reads: [{ path: input, by: 'the input' }],
    }).catch((thrown) => thrown)
    expect(error).toBeInstanceOf(UsageError)
    expect(error.exitCode).toBe(2)
    expect(error.message).toBe(
      `--output ${path} would overwrite ${input} (the input), which this command reads; choose another name`,
    )
    // And the other way round.
    await refused(input, path).toThrow(`--output ${input} would overwrite ${path}`)
    expect(readFileSync(input, 'utf8')).toBe('content of model.gguf')
  })

  test('by another part of a split model, under any name', async () => {
    const parts = [1, 2, 3].map((i) => write(`model-0000${i}-of-00003.gguf`))
    const other = write('model-00001-of-00002.gguf')
    symlinkSync(parts[2], join(folder, 'third.gguf'))
    for (const path of [parts[1], parts[2], join(folder, 'third.gguf')])
      await refused(path, parts[0]).toThrow(
        /would overwrite .*model-0000[23]-of-00003\.gguf \(part of --data\)/,
      )
    await checkOutputs({ writes: [output(other)], reads: [{ path: parts[0], by: '--data' }] })
  })

  test('by a file of a folder of texts', async () => {
    const text = write('texts', 'deep', 'a.txt')
    symlinkSync(text, join(folder, 'report.html'))
    for (const path of [text, join(folder, 'report.html')])
      await refused(path, join(folder, 'texts')).toThrow(`would overwrite ${text} (part of --data)`)
    await checkOutputs({
      writes: [output(join(folder, 'texts', 'report.html'))],
      reads: [{ path: join(folder, 'texts'), by: '--data' }],
    })
  })

  test('by what is kept beside the output until it is done', async () => {
    const path = join(folder, 'out.gguf')
    const inputs = [
      write('out.gguf.checkpoint'),
      write('out.gguf.blocks', 'block-0.gguf'),
      write('.out.gguf.room'),
      write('.out.gguf.checkpoint.room'),
      write('.out.gguf.lock'),
      write('.out.gguf.99999999.0123abcd.tmp'),
    ]
    symlinkSync(inputs[0], join(folder, 'elsewhere.gguf'))
    for (const input of [...inputs, join(folder, 'elsewhere.gguf')])
      await refused(path, input, keptBeside(path)).toThrow(/ is used until the output is done; choose/)
    await refused(path, join(folder, 'out.gguf.blocks'), keptBeside(path)).toThrow('is used until')
    await checkOutputs({
      writes: [output(path, keptBeside(path))],
      reads: [{ path: write('out.gguf.blocks-of-mine'), by: '--data' }],
    })
  })

  test('another output of the command', async () => {
    const path = write('store.db')
    symlinkSync(path, join(folder, 'report.html'))
    const writes = [output(join(folder, 'report.html')), { path, by: '--store', files: [`${path}-wal`] }]
    await expect(checkOutputs({ writes, reads: [] })).rejects.toThrow(
      `--output ${join(folder, 'report.html')} and --store ${path} would overwrite each other`,
    )
    writes[0] = output(`${path}-wal`)
    await expect(checkOutputs({ writes, reads: [] })).rejects.toThrow('would overwrite each other')
    const twice = [output(join(folder, 'new')), output(join(folder, '.', 'new'))]
    await expect(checkOutputs({ writes: twice, reads: [] })).rejects.toThrow('would overwrite each other')
  })

  test('inputs that are not there are told by whoever reads them', async () => {
    const path = join(folder, 'out.gguf')
    await checkOutputs({ writes: [output(path)], reads: [{ path: join(folder, 'none'), by: '--data' }] })
    await refused(path, path).toThrow('would overwrite')
  })
})

test('an output is locked while it is written, and leftovers of killed writers go', async () => {
  const path = join(folder, 'out.gguf')
  const abandoned = [write('.out.gguf.1.0123abcd.tmp'), write(`.out.gguf.${process.pid}.0123abcd.tmp`)]
  const others = [write('.other.gguf.1.0123abcd.tmp'), write('.out.gguf.notes.tmp')]
  const files = { writes: [output(path)], reads: [] }
  await withOutputs(files, async () => {
    await expect(withOutputs(files, async () => {})).rejects.toThrow(
      `${path}: another quench (process ${process.pid}) is writing this file; wait until it is done`,
    )
    await atomicWrite(path, 'done')
  })
  expect(readdirSync(folder).sort()).toEqual([...others, path].map((name) => basename(name)).sort())
  expect(abandoned.some(existsSync)).toBe(false)
  await expect(withOutputs(files, () => Promise.reject(new Error('failed')))).rejects.toThrow('failed')
  ;(await lockFile(path, '')).release()
})

describe('an output that is a symbolic link', () => {
  test('is written where it leads, also if there is nothing yet', async () => {
    mkdirSync(join(folder, 'disk2'))
    const [link, target] = [join(folder, 'out.gguf'), join(folder, 'disk2', 'target.gguf')]
    symlinkSync(join('disk2', 'target.gguf'), link)
    for (const content of ['first', 'second']) {
      expect(join(temporaryPath(link), '..')).toBe(join(target, '..'))
      await reserveSpace(link, 1000)
      expect(readdirSync(join(folder, 'disk2'))).toContain('.target.gguf.room')
      await atomicWrite(link, content)
      expect(readFileSync(target, 'utf8')).toBe(content)
      expect(readlinkSync(link)).toBe(join('disk2', 'target.gguf'))
      expect(readdirSync(join(folder, 'disk2'))).toEqual(['target.gguf'])
    }
    const writer = await createGguf(link, { metadata: new Metadata(link), tensors: [] })
    await writer.finish()
    expect(readFileSync(target).toString('latin1', 0, 4)).toBe('GGUF')
    expect(readdirSync(folder).sort()).toEqual(['disk2', 'out.gguf'])
  })

  test('links that lead to each other are told', async () => {
    symlinkSync('b', join(folder, 'a'))
    symlinkSync('a', join(folder, 'b'))
    await expect(atomicWrite(join(folder, 'a'), '')).rejects.toThrow('its symbolic links lead to each other')
  })
})

test('the demo writes over nothing that it reads, and not where another one writes', async () => {
  const shipped = join(import.meta.dirname, '../../models/quench-5m-f16.gguf')
  const before = readFileSync(shipped)
  symlinkSync(shipped, join(folder, 'quench-5m-Q2_K-QAT.gguf'))
  await expect(demo({ folder })).rejects.toThrow(
    /quench-5m-Q2_K-QAT\.gguf would overwrite .*quench-5m-f16\.gguf/,
  )
  expect(readdirSync(folder)).toEqual(['quench-5m-Q2_K-QAT.gguf'])
  expect(readFileSync(shipped).equals(before)).toBe(true)
  const lock = await lockFile(join(folder, 'busy'), '')
  await expect(demo({ folder: join(folder, 'busy') })).rejects.toThrow(
    'is making the files of the demo in this folder',
  )
  expect(readdirSync(join(folder, 'busy'))).toEqual([])
  lock.release()
})

describe('long names', () => {
  test.each([
    ['n'.repeat(255)],
    ['n'.repeat(250)],
    ['ü'.repeat(125)],
    [`${'😀'.repeat(62)}x`],
    ['n'.repeat(201)],
  ])('%s', async (name) => {
    const path = join(folder, name)
    await withOutputs({ writes: [output(path)], reads: [] }, async () => {
      await reserveSpace(path, 100)
      await atomicWrite(path, 'whole')
    })
    expect(readdirSync(folder)).toEqual([name])
    const names = ['.checkpoint', '.blocks'].map((ending) => besidePath(path, ending))
    for (const beside of [...names, ...names.map((each) => hiddenPath(each, `.${2 ** 31}.01234567.tmp`))]) {
      writeFileSync(beside, '')
      expect(Buffer.byteLength(basename(beside))).toBeLessThanOrEqual(255)
    }
    expect(new Set(names).size).toBe(2)
    expect(besidePath(path, '.blocks')).not.toBe(besidePath(join(folder, `${name.slice(0, -2)}y`), '.blocks'))
  })

  test('one of 256 bytes is refused before the work', async () => {
    const files = { writes: [output(join(folder, 'n'.repeat(256)))], reads: [] }
    await expect(withOutputs(files, () => expect.unreachable())).rejects.toThrow('the name is too long')
  })
})

describe('what quench keeps for itself', () => {
  test('is not written through a link, and a folder of that name stays', async () => {
    const path = join(folder, 'report.html')
    const victim = write('victim')
    for (const plant of [symlinkSync, linkSync]) {
      plant(victim, reservedPath(path))
      await atomicWrite(path, 'report')
      expect(readFileSync(victim, 'utf8')).toBe('content of victim')
      expect(readFileSync(path, 'utf8')).toBe('report')
      await reserveSpace(path, 100)
      expect(readFileSync(victim, 'utf8')).toBe('content of victim')
      expect(lstatSync(reservedPath(path))).toMatchObject({ size: 100, nlink: 1 })
      await atomicWrite(path, 'again')
      expect(readdirSync(folder).sort()).toEqual(['report.html', 'victim'])
    }
    mkdirSync(reservedPath(path))
    await atomicWrite(path, 'beside a folder')
    await expect(reserveSpace(path, 100)).rejects.toThrow(
      'this is a folder, where quench keeps a file of its own',
    )
    expect(readdirSync(folder).sort()).toEqual(['.report.html.room', 'report.html', 'victim'])
  })

  test('a file that quench did not reserve is left alone', async () => {
    const path = join(folder, 'report.html')
    const mine = write('.report.html.room')
    await atomicWrite(path, 'report')
    expect(readFileSync(mine, 'utf8')).toBe('content of .report.html.room')
  })

  test('a kill between link and rename does no harm to what was saved', async () => {
    const path = join(folder, 'out.checkpoint')
    const content = { metadata: new Metadata(path), tensors: [{ name: 't', shape: [256], type: 0 }] }
    const save = async (value: number, fails = false): Promise<void> => {
      const writer = await createGguf(path, { ...content, keepReserved: true })
      await writer.write('t', new Uint8Array(1024).fill(value))
      if (fails) await writer.abort()
      else await writer.finish()
    }
    await save(1)
    linkSync(path, reservedPath(path)) // as the kill leaves it
    const saved = readFileSync(path)
    await reserveSpace(path, saved.length)
    await save(2, true)
    expect(readFileSync(path)).toEqual(saved)
    linkSync(path, reservedPath(path))
    for (let i = 3; i < 6; i++) await save(i)
    expect(readFileSync(path).at(-1)).toBe(5)
    expect(readdirSync(folder).sort()).toEqual(['.out.checkpoint.room', 'out.checkpoint'])
    expect(statSync(path).nlink).toBe(1)
  })

  test('a copy of the checkpoint by a hard link stays as it was', async () => {
    const path = join(folder, 'out.checkpoint')
    const save = (text: string) =>
      createGguf(path, {
        metadata: new Metadata(path, [['k', { type: 'string', value: text }]]),
        tensors: [],
        keepReserved: true,
      }).then((writer) => writer.finish())
    await save('first')
    linkSync(path, join(folder, 'copy'))
    const copy = readFileSync(join(folder, 'copy'))
    for (const text of ['other', 'third', 'fourth']) await save(text)
    expect(readFileSync(join(folder, 'copy'))).toEqual(copy)
  })
})

describe.skipIf(process.platform === 'win32')('permissions', () => {
  test('are those of the umask, or of the file that is replaced', async () => {
    const path = join(folder, 'out')
    const mode = () => (statSync(path).mode & 0o777).toString(8)
    const before = process.umask(0o027)
    try {
      await atomicWrite(path, 'new')
      expect(mode()).toBe('640')
      for (const kept of [0o600, 0o664, 0o444, 0o755]) {
        chmodSync(path, kept)
        await atomicWrite(path, async (handle) => {
          const [name] = readdirSync(folder).filter((each) => each.endsWith('.tmp'))
          expect(statSync(join(folder, name)).mode & 0o777 & ~kept & ~0o600).toBe(0)
          await handle.writeFile('more')
        })
        expect(mode()).toBe(kept.toString(8))
      }
      rmSync(path)
      await reserveSpace(path, 100)
      await atomicWrite(path, 'in reserved space')
      expect(mode()).toBe('640')
    } finally {
      process.umask(before)
    }
  })
})
