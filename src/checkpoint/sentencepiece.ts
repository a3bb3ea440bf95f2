/**
 * `tokenizer.model`: a SentencePiece model, in the wire format of Protocol Buffers. Only what a tokenizer needs is read; unknown fields are
 * passed over. Field numbers: sentencepiece_model.proto.
 */
import { BinaryReader, type WireType } from '@bufbuild/protobuf/wire'
import { FileError } from '../errors.js'
import { readInput } from '../input-file.js'

/** SentencePiece.Type, which GGUF's types of tokens are made after. */
export const pieceType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

interface Piece {
  readonly text: string
  readonly score: number
  /** One of `pieceType`. */
  readonly type: number
}

export interface SentencePieceModel {
  readonly path: string
  readonly pieces: readonly Piece[]
  readonly type: 'unigram' | 'bpe'
  /** A table of SentencePiece's own with replacements of characters; empty: none. */
  readonly charsmap: Uint8Array
  /** A space before every text. */
  readonly addsSpace: boolean
  /** Several spaces become one. */
  readonly mergesSpaces: boolean
  /** Ids of the tokens for what is unknown and for the ends of a text; negative: there is none. */
  readonly ids: { readonly unk: number; readonly bos: number; readonly eos: number }
}

const mostBytes = 256e6
const mostPieces = 2 ** 22
/** TrainerSpec.ModelType */
const modelTypes = ['', 'unigram', 'bpe', 'word', 'char']

/** @throws FileError for a file that is damaged or of another kind */
export async function readSentencePiece(path: string): Promise<SentencePieceModel> {
  const bytes = await readInput(path, mostBytes)
  try {
    return parse(path, bytes)
  } catch (error) {
    if (error instanceof FileError) throw error
    throw new FileError(path, 'is no SentencePiece model, or damaged; download it again')
  }
}

type Handlers = Readonly<Record<number, (reader: BinaryReader) => void>>

/** Reads the fields of a message that are asked for. */
function readFields(bytes: Uint8Array, handlers: Handlers): void {
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [field, wire]: [number, WireType] = reader.tag()
    const handler = handlers[field]
    if (handler) handler(reader)
    else reader.skip(wire, field)
  }
}

function parse(path: string, bytes: Uint8Array): SentencePieceModel {
  const pieces: Piece[] = []
  let modelType = 1
  let charsmap: Uint8Array = new Uint8Array(0)
  let addsSpace = true
  let mergesSpaces = true
  const ids = { unk: 0, bos: 1, eos: 2 }
  readFields(bytes, {
    1: (reader) => {
      if (pieces.length === mostPieces) throw new FileError(path, `has more than ${mostPieces} pieces`)
      pieces.push(readPiece(reader.bytes()))
    },
    2: (reader) =>
      readFields(reader.bytes(), {
        3: (spec) => {
          modelType = spec.int32()
        },
        40: (spec) => {
          ids.unk = spec.int32()
        },
        41: (spec) => {
          ids.bos = spec.int32()
        },
        42: (spec) => {
          ids.eos = spec.int32()
        },
      }),
    3: (reader) =>
      readFields(reader.bytes(), {
        2: (spec) => {
          charsmap = spec.bytes()
        },
        3: (spec) => {
          addsSpace = spec.bool()
        },
        4: (spec) => {
          mergesSpaces = spec.bool()
        },
      }),
  })
  const type = modelTypes[modelType]
  if (type !== 'unigram' && type !== 'bpe')
    throw new FileError(
      path,
      `is a SentencePiece model of the type ${type || modelType}; quench converts BPE and unigram`,
    )
  if (pieces.length === 0) throw new FileError(path, 'has no pieces')
  return { path, pieces, type, charsmap, addsSpace, mergesSpaces, ids }
}

function readPiece(bytes: Uint8Array): Piece {
  let text = ''
  let score = 0
  let type: number = pieceType.normal
  readFields(bytes, {
    1: (reader) => {
      text = reader.string()
    },
    2: (reader) => {
      score = reader.float()
    },
    3: (reader) => {
      type = reader.int32()
    },
  })
  return { text, score, type }
}
