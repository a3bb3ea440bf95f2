/**
 * A part of each text that ships, for tests: reading and tokenizing 1.3 MB takes longer than everything else that a training run on a
 * tiny model does. Kinds and formats are those of the whole texts.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Bytes of each kind: enough for the defaults of tokens and windows with a vocabulary of four bytes a token. */
const bytesOfKind = { calibration: 24_000, validation: 16_000 }

export async function writeShortTexts(from: string, to: string): Promise<void> {
  for (const [set, most] of Object.entries(bytesOfKind)) {
    await mkdir(join(to, set), { recursive: true })
    for (const name of await readdir(join(from, set)))
      await writeFile(join(to, set, name), shortened(await readFile(join(from, set, name), 'utf8'), most))
  }
}

/** The first lines of JSON up to `most` bytes; a single text that is longer is cut. */
function shortened(lines: string, most: number): string {
  let short = ''
  for (const line of lines.split('\n')) {
    if (line === '' || short.length >= most) break
    const document = JSON.parse(line) as { text?: string }
    const left = most - short.length
    if (document.text !== undefined) document.text = document.text.slice(0, left)
    short += `${JSON.stringify(document)}\n`
  }
  return short
}
