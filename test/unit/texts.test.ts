/** Text files and folders of them. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readTexts } from '../../src/data/texts.js'
import { FileError } from '../../src/errors.js'

let folder: string
const file = async (name: string, content: string | Uint8Array): Promise<string> => {
  const path = join(folder, name)
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, content)
  return path
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-texts-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** That the paths are refused, with a message. */
async function expectRefused(paths: readonly string[], message: RegExp): Promise<void> {
  const error = await readTexts(paths).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(FileError)
  expect((error as FileError).message).toMatch(message)
}

test('a file is one text, whatever its name, and files come as they are named', async () => {
  const a = await file('plain/a', 'naïve 東京\r\n')
  const b = await file('plain/b.txt', 'second')
  expect(await readTexts([b, a])).toEqual(['second', 'naïve 東京\r\n'])
})

test('a folder gives its text files, those of its folders too, by name', async () => {
  await file('tree/b.txt', 'b')
  await file('tree/a/z.MD', 'z')
  await file('tree/c.jsonl', '{"text": "c"}\n')
  await file('tree/d.text', 'd')
  await file('tree/image.png', 'no text')
  await file('tree/noending', 'no text')
  await mkdir(join(folder, 'tree/folder.txt'), { recursive: true })
  expect(await readTexts([join(folder, 'tree')])).toEqual(['z', 'b', 'c', 'd'])
})

test('every line of a .jsonl file is a text', async () => {
  const lines = ['{"text": "one\\ntwo"}', '', '  ', '{"id": 3, "text": ""}', '{"text":"last"}']
  expect(await readTexts([await file('x.jsonl', lines.join('\r\n'))])).toEqual(['one\ntwo', '', 'last'])
})

test.each(['{"text": 1}', '{}', 'null', '"text"', '[]'])('a line of %s is refused', async (line) => {
  const path = await file('wrong.jsonl', `{"text": "fine"}\n${line}\n`)
  await expectRefused([path], /wrong\.jsonl: line 2 is not a JSON object with a string "text"/)
})

test('a line that is not JSON is refused', async () => {
  const path = await file('wrong.jsonl', '{"text": "fine"}\n{"text": "a"\n')
  await expectRefused([path], /wrong\.jsonl: line 2: this is not JSON/)
})

test('nothing to read is refused', async () => {
  const empty = await file('empty.txt', ' \n')
  await mkdir(join(folder, 'nothing'), { recursive: true })
  await expectRefused([empty], /empty\.txt: holds no text/)
  await expectRefused([join(folder, 'nothing')], /nothing: holds no text/)
  await expectRefused([join(folder, 'missing.txt')], /missing\.txt: no such file/)
  expect(await readTexts([empty, await file('full.txt', 'words')])).toEqual([' \n', 'words'])
})
