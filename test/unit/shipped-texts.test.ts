/** The texts that ship, and those of the benches. */
import { readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import {
  readTextSet,
  type ShippedDocument,
  shippedFolder,
  type TextsOfKind,
  textKinds,
} from '../../src/data/shipped-texts.js'

const root = resolve(import.meta.dirname, '../..')
const folders = { validation: 'texts/validation', calibration: 'texts/calibration', bench: 'bench/texts' }
type TextSet = keyof typeof folders
const names = Object.keys(folders) as TextSet[]
const sets = new Map<TextSet, readonly TextsOfKind[]>()

beforeAll(async () => {
  sets.set('validation', await readTextSet(shippedFolder('validation')))
  sets.set('calibration', await readTextSet(shippedFolder('calibration')))
  sets.set('bench', await readTextSet(join(root, folders.bench)))
})

const textOf = (document: ShippedDocument): string =>
  'text' in document ? document.text : document.messages.map(({ content }) => content).join('\n')
const documentsOf = (set: TextSet): ShippedDocument[] => sets.get(set)!.flatMap(({ documents }) => documents)
const kindOf = (set: TextSet, kind: string): readonly ShippedDocument[] =>
  sets.get(set)!.find((texts) => texts.kind === kind)!.documents
const languagesOf = (documents: readonly ShippedDocument[]): Set<string> =>
  new Set(documents.map(({ language }) => language?.split('-')[0] ?? ''))

test('the sets have the sizes that they are to have', () => {
  const kilobytes = (set: TextSet): number =>
    textKinds.reduce((sum, kind) => sum + statSync(join(root, folders[set], `${kind}.jsonl`)).size, 0) / 1000
  expect(kilobytes('validation')).toBeLessThan(300)
  expect(kilobytes('calibration')).toBeGreaterThan(800)
  expect(kilobytes('calibration')).toBeLessThan(1200)
  expect(kilobytes('bench')).toBeLessThan(300)
})

test.each(names)('%s: the kinds have about equally many characters', (set) => {
  const sizes = sets.get(set)!.map(({ documents }) => documents.reduce((sum, d) => sum + textOf(d).length, 0))
  expect(Math.max(...sizes)).toBeLessThan(1.3 * Math.min(...sizes))
})

test.each(names)('%s: at least eight other languages, and six programming languages', (set) => {
  const natural = languagesOf(kindOf(set, 'languages'))
  expect(natural.size).toBeGreaterThanOrEqual(8)
  expect(natural).not.toContain('en')
  expect(languagesOf(kindOf(set, 'code')).size).toBeGreaterThanOrEqual(6)
  expect(languagesOf(kindOf(set, 'conversations')).size).toBeGreaterThanOrEqual(3)
})

test.each(names)('%s: documents are of 500 to 6,000 characters and well formed', (set) => {
  for (const document of documentsOf(set)) {
    const text = textOf(document)
    expect(text.length).toBeGreaterThanOrEqual(500)
    expect(text.length).toBeLessThanOrEqual(6000)
    expect(text).not.toMatch(/\uFFFD|\0/)
    expect(text).not.toMatch(/[\w.+-]+@[\w-]+\.[A-Za-z]{2,}/)
    expect(text).not.toMatch(/copyright \(c\)|all rights reserved|licensed under the/i)
  }
})

test.each(names)('%s: conversations begin with the user, who takes turns with the assistant', (set) => {
  for (const document of kindOf(set, 'conversations')) {
    const messages = 'messages' in document ? document.messages : []
    expect(messages.length).toBeGreaterThanOrEqual(2)
    messages.forEach(({ role, content }, i) => {
      expect(role).toBe(i % 2 ? 'assistant' : 'user')
      expect(content.trim()).not.toBe('')
    })
  }
})

test('every source is listed, and is in one set only', () => {
  for (const set of names) {
    const page = readFileSync(join(root, set === 'bench' ? folders.bench : 'texts', 'SOURCES.md'), 'utf8')
    const section = page.split(`## ${set}\n`)[1].split('\n## ')[0]
    const listed = new Set(Array.from(section.matchAll(/^\| (\S+) \| (?:npm|PyPI) /gm), (row) => row[1]))
    const used = new Set(documentsOf(set).map(({ source }) => source))
    expect([...used].sort()).toEqual([...listed].sort())
    for (const other of names.filter((name) => name !== set))
      expect(documentsOf(other).filter(({ source }) => used.has(source))).toEqual([])
  }
})

test('no 200 characters are in two documents', () => {
  const span = 200
  const flat = names.flatMap((set) => documentsOf(set).map((d) => textOf(d).replace(/\s+/g, ' ')))
  const owners = new Map<string, number>()
  const shared: string[] = []
  flat.forEach((text, document) => {
    for (let i = 0; i + span <= text.length; i += span / 4) owners.set(text.slice(i, i + span), document)
  })
  flat.forEach((text, document) => {
    for (let i = 0; i + span <= text.length; i++) {
      const piece = text.slice(i, i + span)
      if ((owners.get(piece) ?? document) !== document) shared.push(piece)
    }
  })
  expect(shared).toEqual([])
})

test('the shipped sets travel with the package, those of the benches do not', () => {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] }
  expect(files).toContain('texts')
  expect(files).not.toContain('bench')
})
