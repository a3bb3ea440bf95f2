/** Chooses documents: well-formed, without duplicates, and evenly over the pieces. */

import { createHash } from 'node:crypto'
import { longest, type Piece, shortest, type Take } from './source.js'

export const pieceText = (piece: Piece): string =>
  piece.text ?? piece.messages?.map(({ content }) => content).join('\n') ?? ''

const hash = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Statements about rights that are not part of the text. */
const rights = /copyright \(c\)|all rights reserved|licensed under the/i
const email = /[\w.+-]+@[\w-]+\.[A-Za-z]{2,}/
/** Languages that are not written in the Latin script. */
const otherScripts = /^(?:ar|be|bg|el|fa|he|hi|ja|ko|ru|th|uk|zh|bn|ta)\b/

/** Words that show that a text has not been translated. */
const english = /\b(?:the|and|of|is|with|this|that|you|your|will)\b/gi

/** Whether a document is suitable. */
function isFit(piece: Piece, take: Take): boolean {
  const text = pieceText(piece)
  if (text.length < shortest || text.length > longest) return false
  if (email.test(text) || rights.test(text) || /\uFFFD|[A-Za-z0-9+/]{80,}|(?![\n\t])\p{Cc}/u.test(text))
    return false
  const letters = text.match(/\p{L}|\p{M}/gu)?.length ?? 0
  if (letters < text.length * (take.kind === 'code' ? 0.4 : 0.55)) return false
  if (take.kind !== 'languages') return true
  if ((text.match(english)?.length ?? 0) > text.length / 200) return false
  const latin = (text.match(/[a-zA-Z]/g)?.length ?? 0) / letters
  return (
    !otherScripts.test(piece.language ?? '') ||
    latin < (/^(?:ja|ko|zh)/.test(piece.language ?? '') ? 0.5 : 0.35)
  )
}

/** Length in characters of a passage that may not occur in two documents. */
const span = 100

/** Remembers the text that has been taken. */
export class Taken {
  private readonly spans = new Set<string>()

  /** Whether a text shares a passage with one that was added. */
  overlaps(text: string): boolean {
    const flat = flatten(text)
    for (let i = 0; i + span <= flat.length; i++) if (this.spans.has(flat.slice(i, i + span))) return true
    return false
  }

  add(text: string): void {
    const flat = flatten(text)
    for (let i = 0; i + span <= flat.length; i += span / 2) this.spans.add(flat.slice(i, i + span))
  }
}

const flatten = (text: string): string => text.replace(/\s+/g, ' ')

/** Documents of a take up to its number of characters, with languages in rotation, in an order determined by their texts. */
export function choose(pieces: readonly Piece[], take: Take, taken: Taken): Piece[] {
  const queues = new Map<string, Piece[]>()
  const ordered = pieces
    .filter((piece) => isFit(piece, take))
    .sort((a, b) => (hash(pieceText(a)) < hash(pieceText(b)) ? -1 : 1))
  for (const piece of ordered) {
    const language = piece.language ?? ''
    queues.set(language, [...(queues.get(language) ?? []), piece])
  }
  const chosen: Piece[] = []
  const sizes = new Map([...queues.keys()].map((language) => [language, 0]))
  /** Limit of characters per language if there are several: others may have less than their share. */
  const most = queues.size > 1 ? (1.5 * take.characters) / queues.size : take.characters
  let size = 0
  while (size < take.characters && queues.size > 0) {
    const [language] = [...queues.keys()].sort(
      (a, b) => (sizes.get(a) ?? 0) - (sizes.get(b) ?? 0) || (a < b ? -1 : 1),
    )
    const piece = queues.get(language)?.shift()
    if (!piece || (sizes.get(language) ?? 0) >= most) {
      queues.delete(language)
      continue
    }
    const text = pieceText(piece)
    if (size + text.length > take.characters * 1.1 || taken.overlaps(text)) continue
    taken.add(text)
    chosen.push(piece)
    size += text.length
    sizes.set(language, (sizes.get(language) ?? 0) + text.length)
  }
  return chosen
}

/** A deterministic order that mixes sources and languages. */
export const mixed = <T extends Piece>(pieces: readonly T[]): T[] =>
  [...pieces].sort((a, b) => (hash(`order ${pieceText(a)}`) < hash(`order ${pieceText(b)}`) ? -1 : 1))
