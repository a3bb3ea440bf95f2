/**
 * The texts that ship with quench: five kinds of text in two sets that share no source. A training run computes from
 * `calibration` if it is given no text, and is validated on `validation`. `texts/SOURCES.md` says where they are from.
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

/** A text, or a conversation that a chat template makes a text of. */
export type ShippedDocument = {
  /** The package that it is from. */
  readonly source: string
  /** The natural language of `languages` and the programming language of `code`. */
  readonly language?: string
} & ({ readonly text: string } | { readonly messages: readonly ShippedMessage[] })

export interface TextsOfKind {
  readonly kind: TextKind
  readonly documents: readonly ShippedDocument[]
}

/** The folder of a set that ships. */
export const shippedFolder = (set: 'calibration' | 'validation'): string =>
  fileURLToPath(new URL(`../../texts/${set}`, import.meta.url))

/** The texts of a folder that has a file of JSON lines for each kind. */
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
