/** Text as it comes: encodings, what is no text, and what is no file. */
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateRawSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decodeText, jsonLines } from '../../src/data/text-file.js'
import { readDocuments, readTexts, textWarnings } from '../../src/data/texts.js'
import { FileError } from '../../src/errors.js'
import { readChoices } from '../../src/evaluate/tasks/choice-files.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-text-'))
})
afterAll(() => rm(folder, { recursive: true }))

const file = async (name: string, content: string | Uint8Array): Promise<string> => {
  const path = join(folder, name)
  await writeFile(path, content)
  return path
}
const big = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16()
const marked = (mark: readonly number[], rest: Uint8Array): Buffer =>
  Buffer.concat([Uint8Array.from(mark), rest])

describe('encodings', () => {
  const text = 'naïve 東京 🙂\nsecond line\n'
  const encoded: Record<string, Buffer> = {
    utf8: Buffer.from(text),
    'utf8 with a mark': marked([0xef, 0xbb, 0xbf], Buffer.from(text)),
    'utf16 little-endian': marked([0xff, 0xfe], Buffer.from(text, 'utf16le')),
    'utf16 big-endian': marked([0xfe, 0xff], big(text)),
  }

  test.each(Object.keys(encoded))('%s is the same text', async (name) => {
    expect(await readTexts([await file('same.txt', encoded[name])])).toEqual([text])
  })

  test('in JSON lines and in questions too', async () => {
    const line = `${JSON.stringify({ text })}\n`
    const question = ['He runs', '3', 'far', 'fast', 'on', 'away'].join('\n')
    const json = JSON.stringify({ context: 'It is', choices: ['a', 'b'], answer: 1 })
    for (const encode of [
      (of: string) => marked([0xef, 0xbb, 0xbf], Buffer.from(of)),
      (of: string) => marked([0xff, 0xfe], Buffer.from(of, 'utf16le')),
      (of: string) => marked([0xfe, 0xff], big(of)),
    ]) {
      expect(await readTexts([await file('same.jsonl', encode(line))])).toEqual([text])
      const hellaswag = await readChoices(await file('questions', encode(question)))
      expect(hellaswag).toMatchObject({ form: 'hellaswag', tasks: [{ context: 'He runs', right: [3] }] })
      expect(await readChoices(await file('questions', encode(json)))).toMatchObject({
        form: 'jsonl',
        tasks: [{ context: 'It is', choices: ['a', 'b'], right: [1] }],
      })
    }
  })

  test('any text comes back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (any) => {
        const clean = any.replaceAll('\0', '').replace(/^\ufeff+/, '')
        for (const bytes of [
          Buffer.from(clean),
          marked([0xff, 0xfe], Buffer.from(clean, 'utf16le')),
          marked([0xfe, 0xff], big(clean)),
        ])
          expect(decodeText('x', bytes)).toBe(clean)
      }),
    )
  })

  test('any bytes are text or one clear error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          decodeText('x', Buffer.from(bytes))
        } catch (error) {
          expect(error).toBeInstanceOf(FileError)
          expect((error as Error).message).not.toContain('\n')
        }
      }),
    )
  })
})

describe('what is no text is refused', () => {
  const latin1 = Buffer.from('one\ntwo caf\u00e9 d\u00e9j\u00e0 vu\n', 'latin1')
  const far = Buffer.concat([Buffer.from('東京\n'.repeat(30_000)), Buffer.from('\u00fc and more', 'latin1')])
  test.each([
    ['Latin-1', latin1, /x: it is not UTF-8 from byte 12 on \(0xe9, in line 2\); if it is Latin-1.*iconv/],
    ['far behind', far, /not UTF-8 from byte 210001 on \(0xfc, in line 30001\)/],
    ['cut in a character', Buffer.from('東京').subarray(0, 5), /not UTF-8 from byte 4 on/],
    ['cut in a wide letter', Buffer.from('a\uff21').subarray(0, 3), /not UTF-8 from byte 2 on \(0xef/],
    ['gzip', gzipSync('text'), /it is compressed \(gzip\); decompress it first/],
    ['bzip2', Buffer.from('BZh91AY&SY\xff\xff', 'latin1'), /compressed \(bzip2\)/],
    ['xz', Buffer.from('\xfd7zXZ\0', 'latin1'), /compressed \(xz\)/],
    ['zstd', Buffer.from('\x28\xb5\x2f\xfd\x04', 'latin1'), /compressed \(zstd\)/],
    ['zip', Buffer.concat([Buffer.from('PK\x03\x04\0\0'), deflateRawSync('text')]), /ZIP archive/],
    ['GGUF', Buffer.from('GGUF\x03\0\0\0'), /a GGUF model/],
    [
      'UTF-16LE without a mark',
      Buffer.from('plain text', 'utf16le'),
      /without a byte order mark.*-f UTF-16LE/,
    ],
    ['UTF-16BE without a mark', big('plain text'), /without a byte order mark.*-f UTF-16BE/],
    ['UTF-32', marked([0xff, 0xfe, 0, 0], Buffer.from([65, 0, 0, 0])), /it is UTF-32/],
    ['half a UTF-16 character', marked([0xff, 0xfe], Buffer.from([65, 0, 66])), /middle of a character/],
    ['half a UTF-16 character, big', marked([0xfe, 0xff], Buffer.from([0, 65, 66])), /middle of a character/],
    [
      'half a pair of UTF-16',
      marked([0xff, 0xfe], Buffer.from([0x3d, 0xd8, 65, 0])),
      /characters that UTF-16/,
    ],
    ['zeros', Buffer.from('text\0\0\0'), /byte 5 is a zero/],
  ])('%s', (_, bytes, message) => {
    expect(() => decodeText('x', bytes)).toThrow(message)
  })

  test('also in a folder, by the name of the file', async () => {
    const path = await file('latin1.txt', latin1)
    await expect(readTexts([folder])).rejects.toThrow(`${path}: it is not UTF-8`)
    await rm(path)
  })
})

test('what is no regular file is refused at once', async () => {
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const socket = join(folder, 'socket')
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  try {
    for (const path of [pipe, socket, '/dev/zero'])
      for (const read of [() => readTexts([path]), () => readChoices(path)])
        await expect(read()).rejects.toThrow(`${path}: this is not a regular file but a pipe`)
  } finally {
    server.close()
  }
  await expect(readChoices(folder)).rejects.toThrow('this is a folder')
  // What /proc has says that it is empty, and some of it never ends.
  await expect(readTexts(['/proc/self/status'])).rejects.toThrow('holds no text')
})

describe('JSON lines', () => {
  const values = (text: string, limits = {}) => Array.from(jsonLines('x', text, limits))

  test('come with their numbers, with any line end', () => {
    expect(values('1\r\n\n  \n{"a": "\\u000a"}')).toEqual([
      { number: 1, value: 1 },
      { number: 4, value: { a: '\n' } },
    ])
  })

  test('beyond a limit are refused', () => {
    const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    expect(() => values(`1\n${nested}`)).toThrow(/line 2: it has more than 64 lists and objects/)
    expect(() => values(`{"a": ${nested}}`)).toThrow(/line 1: it has more than 64 lists/)
    expect(() => values('[[1]]', { deepest: 2 })).not.toThrow()
    expect(() => values('[[{}]]', { deepest: 2 })).toThrow(/more than 2 lists/)
    expect(() => values('"abc"\n"abcd"', { longest: 5 })).toThrow(/line 2: it has more than 5 characters/)
    expect(() => values('{"a"')).toThrow('x: line 1: this is not JSON')
  })
})

test('lines that end as on Windows are remarked on', async () => {
  const unix = await file('unix.txt', 'a\nb\n')
  const windows = await file('windows.txt', 'a\r\nb\r\nc')
  const few = await file('few.txt', `a\r\n${'b\n'.repeat(100)}`)
  const json = await file('windows.jsonl', '{"text": "a\\r\\nb"}\r\n{"text": "a"}\r\n')
  expect(textWarnings(await readDocuments([unix, few]))).toEqual([])
  const [warning, ...more] = textWarnings(await readDocuments([unix, windows, json]))
  expect(more).toEqual([])
  expect(warning).toMatch(/windows\.txt \(and 1 more\): lines end with CRLF/)
})
