/**
 * The texts that ship with quench: five kinds of text in two sets that share no source. If a training run is given no text, it
 * calibrates and trains on `calibration`; it is validated on `validation`. `texts/SOURCES.md` lists the sources.
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { jsonLines, readText } from './text-file.js'

/** English prose, reference text and documentation, source code, conversations with an assistant, other languages. */
export const textKinds = ['prose', 'encyclopedic', 'code', 'conversations', 'languages'] as const
export type TextKind = (typeof textKinds)[number]

export interface ShippedMessage {
  readonly role: 'user' | 'assistant'
  readonly content: string
}

/** A text, or a conversation to be rendered by a chat template. */
export type ShippedDocument = {
  /** The source package. */
  readonly source: string
  /** The natural language of `languages`, the programming language of `code`. */
  readonly language?: string
} & ({ readonly text: string } | { readonly messages: readonly ShippedMessage[] })

export interface TextsOfKind {
  readonly kind: TextKind
  readonly documents: readonly ShippedDocument[]
}

/** The folder of a shipped set. */
export const shippedFolder = (set: 'calibration' | 'validation'): string =>
  fileURLToPath(new URL(`../../texts/${set}`, import.meta.url))

/** The texts of a folder with one JSON Lines file per kind. */
export const readTextSet = (folder: string): Promise<readonly TextsOfKind[]> =>
  Promise.all(
    textKinds.map(async (kind) => {
      const path = join(folder, `${kind}.jsonl`)
      return {
        kind,
        documents: Array.from(jsonLines(path, await readText(path)), ({ value }) => value as ShippedDocument),
      }
    }),
  )
