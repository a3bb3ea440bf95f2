/**
 * A reference's predictions in a file, so that it need not run again: one row of `saved-row.ts` per scored token.
 *
 * Layout: 8 bytes `QUENCHRF`, u32 length of the header, the header as JSON, rows of equal size in the order in which they were
 * computed, and the SHA-256 of everything before it. The header identifies the model, text and settings; a file is refused if
 * another model, text or setting is requested.
 */
import { createHash, type Hash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { FileError, UsageError } from '../../errors.js'
import { commitTemporary, discardTemporary, openTemporary, systemError } from '../../files.js'
import { fileHash } from '../../hashes.js'
import { openInput } from '../../input-file.js'
import { type RowLayout, rowLayout } from './saved-row.js'

const magic = 'QUENCHRF'
const version = 1
const headBytes = magic.length + 4
const mostHeaderBytes = 65_536
const hashBytes = 32
const mostVocabulary = 2 ** 24

/** Identifies the predictions. */
export interface SavedHeader {
  readonly version: number
  readonly model: {
    /** Relative to the folder of the saved file. */
    readonly path: string
    readonly sha256: string
    readonly type: string
    readonly bytes: number
    readonly bitsPerWeight: number
    readonly quantized: boolean
  }
  /** SHA-256 over the tokenizer's data. */
  readonly tokenizer: string
  readonly vocabulary: number
  /** SHA-256 of the tokens of all windows. */
  readonly text: string
  readonly context: number
  readonly windows: number
  readonly rows: number
}

/** Receives the rows of a reference that is being saved. */
export interface RowWriter {
  readonly layout: RowLayout
  write(rows: Uint8Array): Promise<void>
}

/** Writes a saved reference; `path` appears when it is finished. */
export class ReferenceWriter implements RowWriter {
  readonly layout: RowLayout
  private rows = 0

  private constructor(
    private readonly path: string,
    private readonly temporary: string,
    private readonly handle: FileHandle,
    private readonly header: SavedHeader,
    private readonly hash: Hash,
  ) {
    this.layout = rowLayout(header.vocabulary)
  }

  static async create(path: string, header: Omit<SavedHeader, 'version'>): Promise<ReferenceWriter> {
    const { temporary, handle } = await openTemporary(path)
    try {
      const whole = { version, ...header }
      const json = Buffer.from(JSON.stringify(whole))
      const length = Buffer.alloc(4)
      length.writeUInt32LE(json.length)
      const head = Buffer.concat([Buffer.from(magic), length, json])
      await handle.writeFile(head)
      return new ReferenceWriter(path, temporary, handle, whole, createHash('sha256').update(head))
    } catch (error) {
      await handle.close()
      await discardTemporary(temporary)
      throw systemError(path, error)
    }
  }

  async write(rows: Uint8Array): Promise<void> {
    const own = rows.slice() // the memory is shared with other threads
    this.rows += own.length / this.layout.rowBytes
    this.hash.update(own)
    try {
      await this.handle.writeFile(own)
    } catch (error) {
      throw systemError(this.path, error)
    }
  }

  async finish(): Promise<void> {
    if (this.rows !== this.header.rows) throw new Error(`${this.rows} rows, not ${this.header.rows}`)
    try {
      await this.handle.writeFile(this.hash.digest())
    } catch (error) {
      throw systemError(this.path, error)
    }
    await this.handle.close()
    await commitTemporary(this.temporary, this.path)
  }

  /** Removes the unfinished file. */
  async discard(): Promise<void> {
    await this.handle.close().catch(() => {})
    await discardTemporary(this.temporary)
  }
}

/** Whether a file begins like a saved reference. */
export async function isSavedReference(path: string): Promise<boolean> {
  return (await headOf(path)).head === magic
}

/** The first bytes of a file, and its size. @throws FileError */
async function headOf(path: string): Promise<{ head: string; size: number }> {
  const { handle, size } = await openInput(path)
  try {
    const head = Buffer.alloc(magic.length)
    const { bytesRead } = await handle.read(head, 0, head.length, 0)
    return { head: head.toString('latin1', 0, bytesRead), size }
  } catch (error) {
    throw systemError(path, error)
  } finally {
    await handle.close()
  }
}

/** @throws UsageError if a saved reference is named and a model that can run is needed */
export async function needModel(path: string): Promise<void> {
  if (await isSavedReference(path))
    throw new UsageError(
      `${path} is a saved reference, which serves for --data alone; give the model as --reference`,
    )
}

/** A saved reference, opened and checked. */
export class SavedReference {
  private constructor(
    readonly path: string,
    readonly header: SavedHeader,
    readonly layout: RowLayout,
    private readonly start: number,
    private readonly handle: FileHandle,
  ) {}

  /** @throws FileError for a file that is damaged, or whose model is still at its path but has changed */
  static async open(path: string): Promise<SavedReference> {
    const { handle, size } = await openInput(path)
    try {
      const { header, start } = await readHeader(path, handle)
      const layout = rowLayout(header.vocabulary)
      const wanted = start + header.rows * layout.rowBytes + hashBytes
      if (size !== wanted)
        throw new FileError(
          path,
          `it has ${size} bytes and not the ${wanted} that its header says: save it again`,
        )
      await checkHash(path, handle, size)
      const reference = new SavedReference(path, header, layout, start, handle)
      await checkModel(reference)
      return reference
    } catch (error) {
      await handle.close()
      throw systemError(path, error)
    }
  }

  /** @throws FileError if the request differs from the header */
  check(
    asked: Pick<SavedHeader, 'tokenizer' | 'vocabulary' | 'text' | 'context' | 'windows' | 'rows'>,
  ): void {
    const { header, path } = this
    const refuse = (what: string) =>
      new FileError(path, `${what}; save the reference again with --save-reference`)
    if (header.vocabulary !== asked.vocabulary || header.tokenizer !== asked.tokenizer)
      throw refuse('it was saved with another tokenizer than that of the files')
    if (header.context !== asked.context)
      throw refuse(`it was saved with --context ${header.context}, not ${asked.context}`)
    if (header.windows !== asked.windows || header.rows !== asked.rows)
      throw refuse(`it was saved for ${header.windows} windows of text, not ${asked.windows}`)
    if (header.text !== asked.text) throw refuse('it was saved for another text')
  }

  /** Rows `first` to `first + count`. @throws FileError */
  async readRows(first: number, count: number): Promise<Uint8Array> {
    const { rowBytes } = this.layout
    const bytes = new Uint8Array(count * rowBytes)
    const { bytesRead } = await this.handle.read(bytes, 0, bytes.length, this.start + first * rowBytes)
    if (bytesRead < bytes.length) throw new FileError(this.path, 'it has been shortened while it was read')
    return bytes
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}

async function readHeader(path: string, handle: FileHandle): Promise<{ header: SavedHeader; start: number }> {
  const head = Buffer.alloc(headBytes)
  await handle.read(head, 0, headBytes, 0)
  if (head.toString('latin1', 0, magic.length) !== magic)
    throw new FileError(path, 'this is not a saved reference')
  const length = head.readUInt32LE(magic.length)
  if (length > mostHeaderBytes)
    throw new FileError(path, 'its header is too long: it is damaged, save it again')
  const json = Buffer.alloc(length)
  const { bytesRead } = await handle.read(json, 0, length, headBytes)
  let header: unknown
  try {
    if (bytesRead === length) header = JSON.parse(json.toString())
  } catch {
    // reported below
  }
  if (!isHeader(header))
    throw new FileError(path, 'its header is damaged, or of another version of quench: save it again')
  return { header, start: headBytes + length }
}

function isHeader(value: unknown): value is SavedHeader {
  if (!isRecord(value)) return false
  const { model } = value
  const count = (of: unknown, most: number): boolean =>
    Number.isInteger(of) && Number(of) >= 1 && Number(of) <= most
  const matches = (of: unknown, pattern: RegExp): boolean => typeof of === 'string' && pattern.test(of)
  return (
    value.version === version &&
    isRecord(model) &&
    matches(model.path, /^[^\0]{1,4096}$/su) &&
    matches(model.type, /^[^\p{C}]{1,64}$/u) &&
    [model.sha256, value.tokenizer, value.text].every((hash) => matches(hash, /^[0-9a-f]{64}$/)) &&
    count(model.bytes, 2 ** 53) &&
    typeof model.bitsPerWeight === 'number' &&
    model.bitsPerWeight >= 0 &&
    model.bitsPerWeight <= 64 &&
    typeof model.quantized === 'boolean' &&
    count(value.vocabulary, mostVocabulary) &&
    count(value.context, 2 ** 31) &&
    count(value.windows, 2 ** 40) &&
    count(value.rows, 2 ** 40)
  )
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

/** Checks that the last bytes are the hash of all others. */
async function checkHash(path: string, handle: FileHandle, size: number): Promise<void> {
  const hash = createHash('sha256')
  // Hash the handle that is read from later: the name may stand for another file by then.
  const stream = handle.createReadStream({ start: 0, end: size - hashBytes - 1, autoClose: false })
  for await (const chunk of stream) hash.update(chunk as Buffer)
  const stored = Buffer.alloc(hashBytes)
  await handle.read(stored, 0, hashBytes, size - hashBytes)
  if (!hash.digest().equals(stored)) throw new FileError(path, 'it is damaged: save it again')
}

/**
 * If the model is still at its path, it must be unchanged. The header is untrusted: only a GGUF file no larger than the header
 * says is read, and nothing about any other file is revealed.
 */
async function checkModel({ path, header }: SavedReference): Promise<void> {
  const model = join(dirname(path), header.model.path)
  const found = await headOf(model).catch(() => undefined)
  if (!found?.head.startsWith('GGUF')) return
  // The header's size is that of all parts of a split model; this is the first part.
  if (found.size > header.model.bytes || (await fileHash(model)) !== header.model.sha256)
    throw new FileError(path, `${model} has changed since this reference was saved of it: save it again`)
}

/** A model's path as stored in a header: relative to the saved file, or the name alone. */
export function relativePath(saved: string, model: string): string {
  return relative(dirname(saved), model) || basename(model)
}
